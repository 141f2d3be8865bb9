//! Random subscriptions, answers, losses and notifications, with a server that counts ids from 1 on
//! each connection: what is told goes to the one that asked for it, under the one id that it knows.
//!
//! `SEED=7 cargo test -p tower-ws-subscribe --test random` plays one seed again.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::collections::{BTreeMap, VecDeque};

use fastrand::Rng;
use futures_util::future::poll_immediate;
use serde_json::{Value, json};
use support::{Session, answer, ethereum, news, subscribe, unsubscribe};
use tower_ws_core::{DropReason, Event};
use tower_ws_subscribe::{Handle, Heard, JsonRpc, SubscribeLayer, Subscription};
use tower_ws_transport::JsonText;

struct World {
    session: Session<JsonRpc<JsonText>>,
    handle: Handle<String>,
    next: u64,
    /// The application's requests that wait for an answer: what they ask for.
    asked: BTreeMap<u64, String>,
    /// What the application has, and by which id it knows it.
    known: BTreeMap<String, Value>,
    /// What is read by a handle.
    read: BTreeMap<String, Subscription<String>>,
    /// What the server has heard and not answered, and what it tells, by id.
    heard: VecDeque<Value>,
    tells: BTreeMap<u64, String>,
    counter: u64,
}

impl World {
    async fn begin() -> Self {
        let (layer, handle) = SubscribeLayer::pair(ethereum());
        Self {
            session: Session::begin(layer).await,
            handle,
            next: 1,
            asked: BTreeMap::new(),
            known: BTreeMap::new(),
            read: BTreeMap::new(),
            heard: VecDeque::new(),
            tells: BTreeMap::new(),
            counter: 0,
        }
    }

    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    async fn step(&mut self, rng: &mut Rng) {
        match rng.u8(..20) {
            0..3 => {
                let n = self.fresh();
                let what = format!("app {n}");
                if self.session.offer(subscribe(n, &what)).await {
                    self.asked.insert(n, what);
                }
            }
            3..5 => {
                let what = format!("handle {}", self.fresh());
                let subscription = self.handle.subscribe(subscribe(0, &what).to_string());
                self.read.insert(what, subscription);
            }
            5 => {
                if let Some(what) = rng.choice(self.known.keys().cloned().collect::<Vec<_>>()) {
                    let (n, id) = (self.fresh(), self.known[&what].clone());
                    if self.session.offer(unsubscribe(n, id)).await {
                        self.known.remove(&what);
                    }
                }
            }
            6 => {
                if let Some(what) = rng.choice(self.read.keys().cloned().collect::<Vec<_>>()) {
                    self.read.remove(&what);
                }
            }
            7..13 => self.server_answers(rng),
            13..19 => {
                if let Some(id) = rng.choice(self.tells.keys().copied().collect::<Vec<_>>()) {
                    self.server_tells(id);
                }
            }
            _ => {
                // Read first what the connection has brought.
                self.settle().await;
                self.session.down().await;
                (self.asked, self.heard, self.tells) = Default::default();
                self.counter = rng.u64(..3);
                self.session.up().await;
            }
        }
        // Now and then the connection takes little.
        self.session
            .server
            .takes(if rng.bool() { usize::MAX } else { rng.usize(..3) });
        if rng.bool() {
            self.settle().await;
        }
    }

    /// The server answers one of the requests, or refuses it if it knows no such id.
    fn server_answers(&mut self, rng: &mut Rng) {
        if self.heard.is_empty() {
            return;
        }
        let asked = self.heard.remove(rng.usize(..self.heard.len())).unwrap();
        let result = match asked["method"].as_str().unwrap() {
            "eth_subscribe" => {
                self.counter += 1;
                let what = asked["params"][0].as_str().unwrap().to_owned();
                self.tells.insert(self.counter, what);
                json!(self.counter)
            }
            _ => {
                let id = asked["params"][0].as_u64().expect("ids are numbers here");
                let what = self.tells.remove(&id);
                let what = what.unwrap_or_else(|| panic!("nobody has {id}: {asked}"));
                assert!(
                    !self.known.contains_key(&what) && !self.read.contains_key(&what),
                    "{what}"
                );
                json!(true)
            }
        };
        self.session.server.say(answer(&asked["id"], result).to_string());
    }

    fn server_tells(&self, id: u64) {
        self.session
            .server
            .say(news(json!(id), json!(self.tells[&id])).to_string());
    }

    /// Reads all that there is.
    async fn settle(&mut self) {
        while let Some(event) = self.session.next().await {
            match event {
                Event::Message(said) => self.hears(serde_json::from_str(&said).unwrap()),
                // It was just being said again: it is taken back after that.
                Event::Dropped(item, DropReason::Refused(_)) => assert!(item.message.contains("eth_unsubscribe")),
                other => panic!("{other:?}"),
            }
        }
        self.heard.extend(self.session.heard());
        for (what, subscription) in &mut self.read {
            while let Some(Some(heard)) = poll_immediate(subscription.next()).await {
                if let Heard::Item(said) = heard {
                    assert!(said.contains(&format!("\"{what}\"")), "{said} for {what}");
                }
            }
        }
    }

    fn hears(&mut self, said: Value) {
        if let Some(request) = said["id"].as_u64() {
            if let Some(what) = self.asked.remove(&request) {
                let id = said["result"].clone();
                assert!(self.known.values().all(|known| *known != id), "{id} is known already");
                self.known.insert(what, id);
            }
            return;
        }
        let (id, what) = (
            &said["params"]["subscription"],
            said["params"]["result"].as_str().unwrap(),
        );
        match self.known.get(what) {
            Some(known) => assert_eq!(known, id, "{what}"),
            None => panic!("{what} under {id}, which was taken back"),
        }
        assert!(what.starts_with("app"), "{what} is read by a handle");
    }

    /// Everything that is wanted is there, and nothing else.
    async fn ends(&mut self, rng: &mut Rng) {
        self.session.server.set_ready(true);
        for _ in 0..5 {
            self.settle().await;
            while !self.heard.is_empty() {
                self.server_answers(rng);
                self.settle().await;
            }
        }
        let told: Vec<_> = self.tells.values().cloned().collect();
        let mut told_sorted = told.clone();
        told_sorted.sort();
        let mut wanted: Vec<_> = self.known.keys().chain(self.read.keys()).cloned().collect();
        wanted.sort();
        assert_eq!(told_sorted, wanted);
        let now = self.handle.snapshot();
        assert_eq!((now.standing, now.active), (wanted.len(), wanted.len()));
        for id in self.tells.keys().copied().collect::<Vec<_>>() {
            self.server_tells(id);
            self.settle().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_told_goes_to_the_one_that_asked_for_it() {
    let seeds = match std::env::var("SEED") {
        Ok(seed) => {
            let seed = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => 0..300,
    };
    for seed in seeds {
        println!("SEED={seed}");
        let mut rng = Rng::with_seed(seed);
        let mut world = World::begin().await;
        for _ in 0..rng.usize(10..200) {
            world.step(&mut rng).await;
        }
        world.ends(&mut rng).await;
    }
}
