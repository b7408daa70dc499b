//! Connections: real sockets against the real server. A connection without a request loses its slot, one client has a
//! limited share, a request that is too large is refused at once, and a request that waits when the server stops is
//! answered first.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
    time::Duration,
};

use lethe::{http::TrustedProxies, server};
use listen::Limits;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

use crate::{
    program::{Answer, Call, DataFolder, Program, free_address, lethe, serve_without_grace},
    steps::{hold, let_go, subject_of, who_waits},
    support::{Person, World, day},
};

/// How long a test waits for an event that must come; it measures nothing.
const PATIENCE: Duration = Duration::from_secs(60);
const HALF: &[u8] = b"GET /health HTTP/1.1\r\nhost: lethe.example\r\nx-half";
const WHOLE: &[u8] = b"GET /health HTTP/1.1\r\nhost: lethe.example\r\n\r\n";

/// Limits so large that no test reaches them.
const PATIENT: Limits = Limits {
    connections: 64,
    connections_per_client: 64,
    idle: Duration::from_secs(300),
    head: Duration::from_secs(300),
    stall: Duration::from_secs(300),
    request: Duration::from_secs(300),
    last_call: Duration::from_secs(300),
    stop: Duration::from_secs(300),
};
const SHORT: Duration = Duration::from_millis(300);

/// A world's server, with limits.
struct Serving {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), server::ServerError>>,
}

impl Serving {
    async fn new(world: &World, limits: Limits) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async move { drop(stopped.await) };
        let (app, mailbox) = (world.app.clone(), world.mailbox.clone());
        let served = server::serve_within(limits, app, mailbox, listener, TrustedProxies::default(), stopped);
        Self { address, stop, served: tokio::spawn(served) }
    }

    async fn end(self) {
        self.stop.send(()).expect("it serves");
        timeout(PATIENCE, self.served).await.expect("it stops").expect("no panic").expect("in order");
    }
}

/// One of our loopback addresses.
fn ours(number: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, number).into()
}

async fn connect(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((from, 0).into()).expect("an address of ours");
    socket.connect(to).await.expect("the server listens")
}

async fn connect_and_send(from: IpAddr, to: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = connect(from, to).await;
    stream.write_all(bytes).await.expect("sent");
    stream
}

/// Everything that the server still sends until it ends the connection, orderly or not.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = async {
        // A reset ends the connection as well.
        let _ = stream.read_to_end(&mut bytes).await;
    };
    timeout(PATIENCE, read).await.expect("the server ends the connection");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The answer to another client's whole request, however long it takes.
async fn health(from: IpAddr, to: SocketAddr) -> Answer {
    timeout(PATIENCE, Call::new(to, "GET", "/health").from(from).send()).await.expect("others are answered")
}

#[tokio::test(flavor = "multi_thread")]
async fn half_requests_lose_their_places_to_whole_ones() {
    let world = World::new().await;
    let serving =
        Serving::new(&world, Limits { connections: 4, connections_per_client: 4, head: SHORT, ..PATIENT }).await;
    let mut halves = Vec::new();
    for _ in 0..4 {
        halves.push(connect_and_send(ours(2), serving.address, HALF).await);
    }
    // All slots are taken, and become free without anybody's action.
    assert_eq!(health(ours(3), serving.address).await.status, 200);
    for mut half in halves {
        assert_eq!(rest(&mut half).await, "");
    }
    serving.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_request_ends() {
    let world = World::new().await;
    let serving = Serving::new(&world, Limits { idle: SHORT, ..PATIENT }).await;
    // Idle before the first byte, and after an answer.
    assert_eq!(rest(&mut connect(ours(2), serving.address).await).await, "");
    let answered = rest(&mut connect_and_send(ours(2), serving.address, WHOLE).await).await;
    assert!(answered.starts_with("HTTP/1.1 200 OK"), "{answered}");
    // A second request on the same connection works as well.
    let mut twice = connect_and_send(ours(2), serving.address, &[WHOLE, WHOLE].concat()).await;
    assert_eq!(rest(&mut twice).await.matches("HTTP/1.1 200 OK").count(), 2);
    serving.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_has_its_share_and_others_are_served_meanwhile() {
    let world = World::new().await;
    let serving = Serving::new(&world, Limits { connections: 8, connections_per_client: 2, ..PATIENT }).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(connect_and_send(ours(2), serving.address, HALF).await);
    }
    let refused = rest(&mut connect(ours(2), serving.address).await).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 5"), "{refused}");
    assert_eq!(health(ours(3), serving.address).await.status, 200);
    // A client that gave back its slot is served again.
    drop(held);
    let again = async {
        while health(ours(2), serving.address).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, again).await.expect("the place is given back");
    serving.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_no_answer_loses_its_place() {
    let world = World::new().await;
    let serving =
        Serving::new(&world, Limits { connections: 1, connections_per_client: 1, stall: SHORT, ..PATIENT }).await;
    // More answers than any socket buffers for a client that reads none of them.
    let many = b"GET /openapi.json HTTP/1.1\r\nhost: lethe.example\r\n\r\n".repeat(400);
    let mut stalled = connect(ours(2), serving.address).await;
    // The server stops reading before everything is sent.
    let _ = timeout(PATIENCE, stalled.write_all(&many)).await;
    assert_eq!(health(ours(3), serving.address).await.status, 200);
    serving.end().await;
}

/// The head of a request that declares the length of a body, without the body.
fn head(anna: &Person, method: &str, path: &str, length: u64) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: lethe.example\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n",
        anna.token
    );
    head.into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_length_beyond_the_limit_is_refused_before_the_body_comes() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let serving = Serving::new(&world, PATIENT).await;
    for (method, path, length) in [
        ("POST", "/v1/work-events/daily", 256 * 1024 + 1),
        ("POST", "/v1/work-events/daily", 1 << 60),
        ("PUT", "/v1/records/work_day", 1_000_000),
        ("PATCH", "/v1/auth/me", 1_000_000),
        ("POST", "/v1/auth/code", 1_000_000),
        ("POST", "/v1/privacy/import", 4 * 1024 * 1024 * 1024 + 1),
    ] {
        let mut stream = connect_and_send(ours(2), serving.address, &head(&anna, method, path, length)).await;
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{method} {path}: {answer}");
        assert!(
            answer.contains("/problems/too-large") && answer.to_lowercase().contains("connection: close"),
            "{answer}"
        );
    }
    // A client that sends everything first gets the answer as well, although sockets can't buffer that much.
    let mut all = head(&anna, "POST", "/v1/work-events/daily", 16_000_000);
    all.resize(all.len() + 16_000_000, b' ');
    let mut stream = connect(ours(2), serving.address).await;
    let (mut reads, mut writes) = stream.split();
    let mut answer = Vec::new();
    let both = async { tokio::join!(writes.write_all(&all), reads.read_to_end(&mut answer)) };
    // The server reads on for a moment and drops the bytes, so that a client which reads the answer only after sending
    // gets it too.
    let (sent, read) = timeout(PATIENCE, both).await.expect("it ends");
    assert!(sent.is_ok() && read.is_ok(), "sent: {sent:?}, read: {read:?}");
    assert!(answer.starts_with(b"HTTP/1.1 413 "), "{}", String::from_utf8_lossy(&answer));
    serving.end().await;
}

async fn list(anna: Person, to: SocketAddr) -> String {
    let request = format!(
        "GET /v1/work-events/me HTTP/1.1\r\nhost: lethe.example\r\nauthorization: Bearer {}\r\n\r\n",
        anna.token
    );
    rest(&mut connect_and_send(ours(2), to, request.as_bytes()).await).await
}

async fn submit(anna: Person, to: SocketAddr) -> String {
    let body = day("2026-02-02", 8.0, 9.0).to_string();
    let request = [head(&anna, "POST", "/v1/work-events/daily", body.len() as u64), body.into_bytes()].concat();
    rest(&mut connect_and_send(ours(2), to, &request).await).await
}

/// Makes each write to the log slow. A lock would not do: PostgreSQL gives up waiting for a lock by itself, and the
/// answer is the same.
async fn slow_down(client: &tokio_postgres::Client) {
    let sql = "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(20); RETURN NULL; END $$;
               CREATE TRIGGER slow BEFORE INSERT ON log.events FOR EACH STATEMENT EXECUTE FUNCTION public.slow()";
    client.batch_execute(sql).await.expect("the trigger is made");
}

async fn until_one_sleeps(client: &tokio_postgres::Client) {
    let sql = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    while client.execute(sql, &[]).await.expect("activity is shown") == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Undoes [`slow_down`]. Waits for statements that still sleep, although their connections are closed.
async fn speed_up(client: &tokio_postgres::Client) {
    client.batch_execute("DROP TRIGGER slow ON log.events; DROP FUNCTION public.slow()").await.expect("dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_when_the_server_stops_is_answered_before_it_ends() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let (holder, client, subject) = (world.superuser().await, world.superuser().await, subject_of(&world, &anna).await);
    for comes_free in [false, true] {
        let last_call = if comes_free { PATIENT.last_call } else { SHORT };
        let serving = Serving::new(&world, Limits { last_call, ..PATIENT }).await;
        let waiting = if comes_free {
            hold(&holder, subject).await;
            let waiting = tokio::spawn(list(anna.clone(), serving.address));
            timeout(PATIENCE, who_waits(&client)).await.expect("the request waits");
            waiting
        } else {
            slow_down(&holder).await;
            let waiting = tokio::spawn(submit(anna.clone(), serving.address));
            timeout(PATIENCE, until_one_sleeps(&client)).await.expect("the request takes long");
            waiting
        };
        // Neither an idle connection nor half a request keeps the server from stopping.
        let mut idle = connect_and_send(ours(3), serving.address, WHOLE).await;
        let mut halves = Vec::new();
        for half in [&HALF[..1], HALF] {
            halves.push(connect_and_send(ours(4), serving.address, half).await);
        }
        let mut first = [0; 12];
        timeout(PATIENCE, idle.read_exact(&mut first)).await.expect("an answer").expect("whole");
        // The server has read the halves by then. A half that it has not read would end by itself.
        tokio::time::sleep(Duration::from_millis(500)).await;
        serving.stop.send(()).expect("it serves");
        rest(&mut idle).await;
        for mut half in halves {
            assert_eq!(rest(&mut half).await, "");
        }
        let answer = if comes_free {
            let_go(&holder, subject).await;
            waiting.await.expect("no panic")
        } else {
            let answer = waiting.await.expect("no panic");
            speed_up(&holder).await;
            answer
        };
        if comes_free {
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        } else {
            assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("/problems/busy"), "{answer}");
            assert!(answer.to_lowercase().contains("retry-after: 2"), "{answer}");
        }
        timeout(PATIENCE, serving.served).await.expect("it stops").expect("no panic").expect("in order");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_takes_too_long_is_answered_and_its_connection_is_of_use_again() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let holder = world.superuser().await;
    let serving =
        Serving::new(&world, Limits { request: Duration::from_secs(3), idle: Duration::from_secs(3), ..PATIENT }).await;
    slow_down(&holder).await;
    let answer = submit(anna.clone(), serving.address).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("x-request-id"), "{answer}");
    speed_up(&holder).await;
    let answer = submit(anna, serving.address).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    serving.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_may_take_longer_than_other_requests() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let serving = Serving::new(&world, Limits { request: SHORT, ..PATIENT }).await;
    let mut stream = connect_and_send(ours(2), serving.address, &head(&anna, "POST", "/v1/privacy/import", 4)).await;
    for part in ["[", " ", " ", "]"] {
        tokio::time::sleep(SHORT).await;
        stream.write_all(part.as_bytes()).await.expect("sent");
    }
    let mut first = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut first)).await.expect("an answer").expect("whole");
    assert_eq!(&first, b"HTTP/1.1 422");
    drop(stream);
    serving.end().await;
}

/// The whole program with few file descriptors: half requests of more clients than it has descriptors for.
#[tokio::test(flavor = "multi_thread")]
async fn with_few_descriptors_many_half_requests_neither_stop_the_server_nor_keep_others_out() {
    let folder = DataFolder::new("few");
    let (store, _) = folder.cluster(&[("fsync", "off")]).await;
    let (address, url) = (free_address(), store.database.url(&store.database.admin, None));
    let listen = address.to_string();
    let plain = lethe(&serve_without_grace(folder.text(), &url, &listen), "info");
    let mut few = Command::new("sh");
    few.args(["-c", "ulimit -n 256; exec \"$0\" \"$@\""]).arg(plain.get_program()).args(plain.get_args());
    few.env("LETHE_LOG", "info").env("NO_COLOR", "1").stdin(Stdio::null());
    let mut program = Program::of(&mut few);
    program.wait_for("serving");
    let mut halves = Vec::new();
    for number in 0..300_u16 {
        let from = ours(u8::try_from(2 + number % 3).expect("few"));
        let mut stream = connect(from, address).await;
        // A client that is refused at once may be unable to send any more.
        let _ = stream.write_all(HALF).await;
        halves.push(stream);
    }
    assert_eq!(health(ours(99), address).await.status, 200);
    program.assert_runs();
    let (status, output) = program.stop();
    let output = String::from_utf8_lossy(&output);
    assert!(status.success() && output.contains("has its share of connections"), "{output}");
    drop(halves);
}
