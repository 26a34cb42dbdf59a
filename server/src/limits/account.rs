//! [`Account`]: the usage of one principal or log. [`Accounts`]: all of them.
//!
//! Invariant: memory is bounded. An unused account whose buckets are full is
//! forgotten, because a new one would be equal. If there are too many, the new ones of a kind
//! share one account.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::bucket::Bucket;
use super::rules::{Limit, Rules};

/// Most accounts.
const ACCOUNTS_MAX: usize = 65_536;

/// Whether an account belongs to a principal or to a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    Principal,
    Log,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) owner: Owner,
    pub(super) name: Arc<str>,
    pub(super) append_bytes: Bucket,
    pub(super) append_requests: Bucket,
    pub(super) read_bytes: Bucket,
    pub(super) read_requests: Bucket,
    pub(super) connections: AtomicU64,
    pub(super) connections_max: AtomicU64,
    pub(super) logs_max: AtomicU64,
    pub(super) stored_bytes_max: AtomicU64,
    /// Held while a principal with a limit of logs creates one.
    pub(super) creating: Arc<tokio::sync::Mutex<()>>,
    /// The last answer to whether too many bytes are stored.
    pub(super) stored: Mutex<Option<Stored>>,
}

/// See [`Account::stored`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    /// The version of the usage from which it was computed.
    pub(super) version: u64,
    /// The address of the principal whose logs were counted. Two tokens of one name may have
    /// different grants.
    pub(super) principal: usize,
    pub(super) bytes: u64,
}

impl Account {
    fn new(owner: Owner, name: &str, limit: Limit) -> Account {
        let account = Account {
            owner,
            name: name.into(),
            append_bytes: Bucket::default(),
            append_requests: Bucket::default(),
            read_bytes: Bucket::default(),
            read_requests: Bucket::default(),
            connections: AtomicU64::new(0),
            connections_max: AtomicU64::new(0),
            logs_max: AtomicU64::new(0),
            stored_bytes_max: AtomicU64::new(0),
            creating: Arc::default(),
            stored: Mutex::new(None),
        };
        account.set(limit);
        account
    }

    fn set(&self, limit: Limit) {
        self.append_bytes.set_rate(limit.append_bytes);
        self.append_requests.set_rate(limit.append_requests);
        self.read_bytes.set_rate(limit.read_bytes);
        self.read_requests.set_rate(limit.read_requests);
        self.connections_max.store(limit.connections, Ordering::Relaxed);
        self.logs_max.store(limit.logs, Ordering::Relaxed);
        self.stored_bytes_max.store(limit.stored_bytes, Ordering::Relaxed);
    }

    fn is_new(&self, now: u64) -> bool {
        let buckets =
            [&self.append_bytes, &self.append_requests, &self.read_bytes, &self.read_requests];
        buckets.into_iter().all(|bucket| bucket.is_full(now))
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Accounts {
    rules: Rules,
    by_name: HashMap<(Owner, Arc<str>), Arc<Account>>,
    most: usize,
}

impl Accounts {
    pub(super) fn new(rules: Rules) -> Accounts {
        Accounts { rules, by_name: HashMap::new(), most: ACCOUNTS_MAX }
    }

    /// The account of this name.
    pub(super) fn get(&mut self, owner: Owner, name: &str) -> Arc<Account> {
        // The names of principals are not empty, and neither are those of logs.
        let is_full = self.by_name.len() >= self.most;
        let key = (owner, Arc::<str>::from(name));
        let key = match self.by_name.contains_key(&key) || !is_full {
            true => key,
            false => (owner, "".into()),
        };
        if let Some(account) = self.by_name.get(&key) {
            return account.clone();
        }
        let account = Arc::new(Account::new(owner, &key.1, self.limit(owner, &key.1)));
        self.by_name.insert(key, account.clone());
        account
    }

    /// Applies other rules, also to accounts that are in use.
    pub(super) fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
        for ((owner, name), account) in &self.by_name {
            account.set(self.limit(*owner, name));
        }
    }

    /// Removes unused accounts whose buckets are full.
    pub(super) fn sweep(&mut self, now: u64) {
        self.by_name.retain(|_, account| Arc::strong_count(account) > 1 || !account.is_new(now));
        if self.by_name.len() * 4 < self.by_name.capacity() {
            self.by_name.shrink_to_fit();
        }
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    fn limit(&self, owner: Owner, name: &str) -> Limit {
        match owner {
            Owner::Principal => self.rules.of_principal(name),
            Owner::Log => self.rules.of_log(name),
        }
    }
}

/// A place among the connections of an account. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Account>);

impl Place {
    /// Takes a place; `None` if all are taken.
    pub(super) fn take(account: &Arc<Account>) -> Option<Place> {
        let before = account.connections.fetch_add(1, Ordering::Relaxed);
        let place = Place(account.clone());
        let most = account.connections_max.load(Ordering::Relaxed);
        (most == 0 || before < most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The value behind a lock, whatever happened under it.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn idle_accounts_are_forgotten_and_those_in_debt_are_not() {
        let rules = "[default]\nappend_bytes = 10".parse().expect("valid");
        let mut accounts = Accounts::new(rules);
        let held = accounts.get(Owner::Principal, "held");
        accounts.get(Owner::Principal, "idle");
        accounts.get(Owner::Principal, "debt").append_bytes.charge(0, 100);
        assert!(Arc::ptr_eq(&held, &accounts.get(Owner::Principal, "held")));
        assert!(!Arc::ptr_eq(&held, &accounts.get(Owner::Log, "held")));
        accounts.sweep(SECOND);
        assert_eq!(accounts.by_name.len(), 2);
        drop(held);
        accounts.sweep(9 * SECOND);
        assert_eq!(accounts.by_name.len(), 1);
        accounts.sweep(10 * SECOND);
        assert!(accounts.by_name.is_empty());
    }

    #[test]
    fn accounts_beyond_the_most_are_shared() {
        let rules = "[default]\nappend_bytes = 10".parse().expect("valid");
        let mut accounts = Accounts { most: 2, ..Accounts::new(rules) };
        let one = accounts.get(Owner::Principal, "1");
        accounts.get(Owner::Principal, "2");
        let third = accounts.get(Owner::Principal, "3");
        assert!(Arc::ptr_eq(&third, &accounts.get(Owner::Principal, "4")));
        assert!(Arc::ptr_eq(&one, &accounts.get(Owner::Principal, "1")));
        assert_eq!(third.append_bytes.rate(), 10);
        for number in 0..1000 {
            accounts.get(Owner::Principal, &number.to_string());
        }
        assert!(accounts.by_name.len() <= 3);
    }

    #[test]
    fn new_rules_apply_to_accounts_in_use() {
        let mut accounts = Accounts::new(Rules::default());
        let account = accounts.get(Owner::Log, "a");
        assert_eq!(account.read_bytes.rate(), 0);
        let text = "[[log]]\nname = 'a'\nread_bytes = 5\nconnections = 1";
        accounts.set_rules(text.parse().expect("valid"));
        assert_eq!(account.read_bytes.rate(), 5);
        let place = Place::take(&account).expect("one place");
        assert!(Place::take(&account).is_none());
        drop(place);
        assert!(Place::take(&account).is_some());
    }
}
