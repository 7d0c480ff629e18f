//! A TCP balancer, as stands in front of replicas: each connection goes to the next server that takes it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpStream};

/// A balancer; stops taking connections when dropped.
#[derive(Debug)]
pub struct Balancer {
    /// Where to connect.
    pub addr: SocketAddr,
    servers: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Balancer {
    /// Spreads connections over these, `host:port` each.
    pub async fn start(servers: &[&str]) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let servers = servers.iter().map(|server| (*server).to_owned()).collect();
        let servers = Arc::new(Mutex::new(servers));
        let task = tokio::spawn(serve(listener, servers.clone()));
        Ok(Self { addr, servers, task })
    }

    /// From now on new connections go to these.
    pub fn set(&self, servers: &[&str]) {
        let mut held = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        *held = servers.iter().map(|server| (*server).to_owned()).collect();
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, servers: Arc<Mutex<Vec<String>>>) {
    let mut turn = 0;
    while let Ok((mut client, _)) = listener.accept().await {
        turn += 1;
        let mut all = servers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let count = all.len().max(1);
        all.rotate_left(turn % count);
        tokio::spawn(async move {
            for server in all {
                if let Ok(mut server) = TcpStream::connect(server).await {
                    let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    return;
                }
            }
        });
    }
}
