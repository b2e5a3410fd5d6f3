//! A wire to the server that counts, slows down, and breaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a wire does.
#[derive(Clone, Copy, Default)]
pub struct Faults {
    /// Connections that are cut after so many bytes to the server; the later ones live.
    pub cuts: usize,
    pub cut_after: u64,
    /// Bytes a second to the server; 0: no limit.
    pub speed: u64,
}

/// Open as long as its runtime lives.
pub struct Wire {
    pub port: u16,
    sent: Arc<AtomicU64>,
    _runtime: tokio::runtime::Runtime,
}

impl Wire {
    pub fn to(server: u16, faults: Faults) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sent, opened) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&sent);
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let cut = opened.fetch_add(1, Ordering::Relaxed) < faults.cuts;
                tokio::spawn(carry(client, server, Faults { cuts: usize::from(cut), ..faults }, Arc::clone(&counted)));
            }
        });
        Self { port, sent, _runtime: runtime }
    }

    /// Bytes that went to the server, TLS and all.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

async fn carry(client: TcpStream, server: u16, faults: Faults, sent: Arc<AtomicU64>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut buffer = vec![0; 16 << 10];
    let mut here = 0;
    while let Ok(count) = from_client.read(&mut buffer).await {
        if count == 0 || (faults.cuts > 0 && here > faults.cut_after) {
            break;
        }
        if to_server.write_all(&buffer[..count]).await.is_err() {
            break;
        }
        here += count as u64;
        sent.fetch_add(count as u64, Ordering::Relaxed);
        if let Some(pause) = (count as u64 * 1_000_000).checked_div(faults.speed) {
            tokio::time::sleep(Duration::from_micros(pause)).await;
        }
    }
    back.abort();
}
