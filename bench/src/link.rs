//! A link of limited speed to a server on loopback, which counts what goes through.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use snafu::{ResultExt as _, Whatever};

/// Bytes that are let through at a time.
const PIECE: usize = 64 << 10;
/// What an idle link may send at once when it is used again.
const BURST: Duration = Duration::from_millis(20);

/// A link. Its threads end with their connections, the one that takes connections with the process.
pub struct Link {
    address: SocketAddr,
    sent: Arc<AtomicU64>,
}

impl Link {
    /// A link to `target`, of so many bytes a second each way.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn to(target: SocketAddr, bytes_per_second: f64) -> Result<Self, Whatever> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).whatever_context("no port for a link")?;
        let address = listener.local_addr().whatever_context("no address of a link")?;
        let sent = Arc::new(AtomicU64::new(0));
        let (there, back) = (Arc::new(Limit::new(bytes_per_second)), Arc::new(Limit::new(bytes_per_second)));
        let counter = Arc::clone(&sent);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if let Ok(server) = TcpStream::connect(target) {
                    pass(&client, &server, &there, &counter);
                    pass(&server, &client, &back, &Arc::default());
                }
            }
        });
        Ok(Self { address, sent })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that went to the server so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// Passes on what comes from `from`, in a thread of its own.
fn pass(from: &TcpStream, to: &TcpStream, limit: &Arc<Limit>, count: &Arc<AtomicU64>) {
    let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
    let (limit, count) = (Arc::clone(limit), Arc::clone(count));
    thread::spawn(move || {
        // Whichever side ends it: the other one hears of it.
        let _ = copy(&from, &to, &limit, &count);
        let _ = to.shutdown(Shutdown::Write);
    });
}

fn copy(mut from: &TcpStream, mut to: &TcpStream, limit: &Limit, count: &AtomicU64) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        thread::sleep(limit.take(read, Instant::now()));
        to.write_all(&buffer[..read])?;
        count.fetch_add(read as u64, Ordering::Relaxed);
    }
}

/// A speed that all connections share.
struct Limit {
    bytes_per_second: f64,
    free: Mutex<Option<Instant>>,
}

impl Limit {
    fn new(bytes_per_second: f64) -> Self {
        Self { bytes_per_second, free: Mutex::new(None) }
    }

    /// How long to wait until so many bytes have gone.
    #[expect(clippy::cast_precision_loss, reason = "at most a piece")]
    fn take(&self, bytes: usize, now: Instant) -> Duration {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let start = free.map_or(now, |free| free.max(earliest));
        let end = start + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
        *free = Some(end);
        end.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_wait_for_those_before_them_and_an_idle_link_saves_up_little() {
        let limit = Limit::new(1000.0);
        let now = Instant::now();
        assert_eq!(limit.take(100, now), Duration::from_millis(100));
        assert_eq!(limit.take(100, now), Duration::from_millis(200));
        let later = now + Duration::from_secs(10);
        assert_eq!(limit.take(100, later), Duration::from_millis(80));
    }
}
