// SPDX-License-Identifier: Apache-2.0
//! Threads that wait through Rust's standard library, each for something else below wait_NAME; and a pool of workers that
//! wait for requests, whose handlers wait for an answer. `waits [SECONDS]`; the line is that of ../cpp/waits.cpp.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{channel, sync_channel, Receiver, Sender};
use std::sync::{Arc, Barrier, Condvar, Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

const PERIOD: Duration = Duration::from_millis(5);

static ENDED: AtomicBool = AtomicBool::new(false);

extern "C" {
    fn gettid() -> i32;
}

/// What the feeder and the threads share.
struct Shared {
    mutex: Mutex<u64>,
    for_readers: RwLock<u64>,
    for_writers: RwLock<u64>,
    beside_condition: Mutex<u64>,
    condition: Condvar,
    messages: Mutex<Receiver<u64>>,
    few_messages: Mutex<Receiver<u64>>,
    barrier: Barrier,
    socket: Mutex<UnixStream>,
}

#[inline(never)]
fn wait_mutex(shared: &Shared) {
    *shared.mutex.lock().unwrap() += 1;
}

#[inline(never)]
fn wait_reader(shared: &Shared) {
    std::hint::black_box(*shared.for_readers.read().unwrap());
}

#[inline(never)]
fn wait_writer(shared: &Shared) {
    *shared.for_writers.write().unwrap() += 1;
}

#[inline(never)]
fn wait_condition(shared: &Shared) {
    let guard = shared.beside_condition.lock().unwrap();
    let before = *guard;
    drop(shared.condition.wait_while(guard, |now| *now == before));
}

#[inline(never)]
fn wait_park(_: &Shared) {
    thread::park();
    std::hint::black_box(0);
}

#[inline(never)]
fn wait_channel(shared: &Shared) {
    std::hint::black_box(shared.messages.lock().unwrap().recv().unwrap());
}

#[inline(never)]
fn wait_rendezvous(shared: &Shared) {
    std::hint::black_box(shared.few_messages.lock().unwrap().recv().unwrap());
}

#[inline(never)]
fn wait_barrier(shared: &Shared) {
    std::hint::black_box(shared.barrier.wait().is_leader());
}

#[inline(never)]
fn wait_sleep(_: &Shared) {
    thread::sleep(PERIOD);
    std::hint::black_box(0);
}

#[inline(never)]
fn wait_join(_: &Shared) {
    thread::spawn(|| thread::sleep(PERIOD)).join().unwrap();
}

#[inline(never)]
fn wait_socket(shared: &Shared) {
    let mut byte = [0];
    shared.socket.lock().unwrap().read_exact(&mut byte).unwrap();
}

type Way = (&'static str, &'static str, fn(&Shared));

const WAYS: [Way; 11] = [
    ("mutex", "lock", wait_mutex),
    ("reader", "lock", wait_reader),
    ("writer", "lock", wait_writer),
    ("condition", "channel", wait_condition),
    ("park", "channel", wait_park),
    ("channel", "channel", wait_channel),
    ("rendezvous", "channel", wait_rendezvous),
    ("barrier", "channel", wait_barrier),
    ("sleep", "sleep", wait_sleep),
    ("join", "channel", wait_join),
    ("socket", "network", wait_socket),
];

#[derive(Default)]
struct Measured {
    tid: AtomicU64,
    waits: AtomicU64,
    waited_nsec: AtomicU64,
}

#[inline(never)]
fn run(shared: &Shared, measured: &Measured, wait: fn(&Shared)) {
    measured.tid.store(unsafe { gettid() } as u64, Ordering::Relaxed);
    while !ENDED.load(Ordering::Relaxed) {
        let start = Instant::now();
        wait(shared);
        measured.waited_nsec.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        measured.waits.fetch_add(1, Ordering::Relaxed);
    }
}

// Waiting for work

type Request = Box<dyn FnOnce() + Send>;

#[inline(never)]
fn run_worker(requests: &Mutex<Receiver<Request>>) {
    loop {
        let request = requests.lock().unwrap().recv();
        match request {
            Ok(request) => request(),
            Err(_) => return,
        }
    }
}

/// A worker with a queue of its own.
#[inline(never)]
fn run_alone(requests: Receiver<Request>) {
    for request in requests {
        request();
    }
}

#[inline(never)]
fn ask_channel() {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        thread::sleep(PERIOD);
        sender.send(1).unwrap();
    });
    std::hint::black_box(receiver.recv().unwrap());
}

#[inline(never)]
fn ask_socket() {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let mut byte = [0];
    thread::spawn(move || {
        thread::sleep(PERIOD);
        theirs.write_all(b"x").unwrap();
    });
    ours.read_exact(&mut byte).unwrap();
}

#[inline(never)]
fn accept_all(listener: &TcpListener) {
    for stream in listener.incoming() {
        drop(stream);
    }
}

fn request(number: u64) -> Request {
    Box::new(move || if number % 2 == 0 { ask_channel() } else { ask_socket() })
}

fn feed(shared: &Shared, senders: (&Sender<u64>, &std::sync::mpsc::SyncSender<u64>), parked: &thread::Thread, socket: &mut UnixStream) {
    {
        let _mutex = shared.mutex.lock().unwrap();
        let _writer = shared.for_readers.write().unwrap();
        let _reader = shared.for_writers.read().unwrap();
        thread::sleep(PERIOD);
    }
    *shared.beside_condition.lock().unwrap() += 1;
    shared.condition.notify_all();
    parked.unpark();
    senders.0.send(1).unwrap();
    let _ = senders.1.try_send(1);
    socket.write_all(b"x").unwrap();
}

fn main() {
    let seconds = std::env::args().nth(1).map_or(5.0, |text| text.parse().expect("not a number of seconds"));
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let (sender, messages) = channel();
    let (few_sender, few_messages) = sync_channel(0);
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let shared = Arc::new(Shared {
        mutex: Mutex::new(0),
        for_readers: RwLock::new(0),
        for_writers: RwLock::new(0),
        beside_condition: Mutex::new(0),
        condition: Condvar::new(),
        messages: Mutex::new(messages),
        few_messages: Mutex::new(few_messages),
        barrier: Barrier::new(2),
        socket: Mutex::new(theirs),
    });
    let measured: Arc<Vec<Measured>> = Arc::new(WAYS.iter().map(|_| Measured::default()).collect());
    let mut handles = Vec::new();
    for (i, way) in WAYS.iter().enumerate() {
        let (shared, measured) = (shared.clone(), measured.clone());
        let start = move || run(&shared, &measured[i], way.2);
        handles.push(thread::Builder::new().name(way.0.into()).spawn(start).unwrap());
    }
    let parked = handles[4].thread().clone();
    let other = shared.clone();
    thread::spawn(move || loop {
        thread::sleep(PERIOD);
        other.barrier.wait();
    });

    let (pool, requests) = channel::<Request>();
    let requests = Arc::new(Mutex::new(requests));
    for _ in 0..3 {
        let requests = requests.clone();
        thread::Builder::new().name("worker".into()).spawn(move || run_worker(&requests)).unwrap();
    }
    let (alone, its_requests) = channel::<Request>();
    thread::Builder::new().name("alone".into()).spawn(move || run_alone(its_requests)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::Builder::new().name("acceptor".into()).spawn(move || accept_all(&listener)).unwrap();

    let mut number = 0;
    while Instant::now() < end {
        feed(&shared, (&sender, &few_sender), &parked, &mut ours);
        pool.send(request(number)).unwrap();
        if number % 4 == 0 {
            alone.send(request(number / 4)).unwrap();
        }
        drop(TcpStream::connect(address));
        number += 1;
    }
    let threads: Vec<String> = WAYS
        .iter()
        .zip(measured.iter())
        .map(|(way, m)| {
            let number = |value: &AtomicU64| value.load(Ordering::Relaxed);
            format!(
                "{{\"name\":\"{}\",\"tid\":{},\"reason\":\"{}\",\"waits\":{},\"waited_ns\":{}}}",
                way.0,
                number(&m.tid),
                way.1,
                number(&m.waits),
                number(&m.waited_nsec)
            )
        })
        .collect();
    println!("{{\"target\":\"{}\",\"pid\":{},\"threads\":[{}]}}", env!("TARGET_NAME"), std::process::id(), threads.join(","));
    // What they measured is all that is wanted of them: none is waited for.
    std::process::exit(0);
}
