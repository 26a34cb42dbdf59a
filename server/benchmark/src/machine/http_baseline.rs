//! [`HttpBaseline`], shown as BARE in reports: a hyper service on one thread that reads
//! the body and answers 30 bytes. HTTP workloads are compared with its rate under the
//! same load.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

const ANSWER: &[u8; 30] = b"{\n  \"position\": 12345678901\n}\n";

/// A running service. It stops when this is dropped.
#[derive(Debug)]
pub(crate) struct HttpBaseline {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HttpBaseline {
    /// Starts the service on a free port.
    ///
    /// # Errors
    /// The system has no port or no thread for it.
    pub(crate) fn start() -> io::Result<HttpBaseline> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let thread =
            std::thread::Builder::new().name("http-baseline".to_owned()).spawn(move || {
                runtime.block_on(async move {
                    let _serving = tokio::spawn(serve(listener));
                    // An error means that the sender was dropped, which also stops the service.
                    let _ = stopped.await;
                });
            })?;
        Ok(HttpBaseline { address, stop: Some(stop), thread: Some(thread) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HttpBaseline {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::spawn(connection);
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    // A body that cannot be read fails on the client too, which reports it.
    let _ = request.into_body().collect().await;
    Ok(Response::new(Full::new(Bytes::from_static(ANSWER))))
}
