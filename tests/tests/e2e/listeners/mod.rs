mod addresses;
mod admin;
mod health;
mod process_1;
mod systemd;
mod unix_socket;
