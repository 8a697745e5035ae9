//! `--registry` and `--dial` of `ahm publish` and `ahm replay`: the program is a resource server
//! itself.

use std::path::PathBuf;
use std::sync::Arc;

use clap::builder::ArgPredicate;

use crate::base::id::Epoch;
use crate::base::time::Span;
use crate::cli::merge::Tick;
use crate::cli::papers::PaperArgs;
use crate::cli::replay::Sink;
use crate::link::address::Address;
use crate::link::source_settings::Counts;
use crate::link::source_topic::Served;
use crate::resource::protection::Protection;
use crate::resource::publisher::Publisher;
use crate::server::registry::read_key;
use crate::wire::resource::Terms;

/// How long consumers have to go elsewhere at the end.
const GRACE: Span = Span::from_secs(2);

/// Flags of a program that serves a resource itself.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "As a resource server")]
#[command(group = clap::ArgGroup::new("served").multiple(true).args(["registry", "dial"]))]
pub struct Serving {
    /// Register at the registry there, IP:PORT, IP:PORT:tls or unix:/PATH, and let servers come;
    /// repeat it for several registries. Nothing is sent that nobody reads
    #[arg(long, value_name = "ADDRESS")]
    pub registry: Vec<Address>,
    /// Dial the server that lets resource servers in there (its key registry.guests), IP:PORT,
    /// IP:PORT:tls or unix:/PATH, as where a firewall lets nobody come here; repeat it for several.
    /// No registry is needed for it
    #[arg(long, value_name = "ADDRESS")]
    pub dial: Vec<Address>,
    /// File with the key that registries and servers demand
    #[arg(long, value_name = "FILE", requires = "served")]
    pub key_file: Option<PathBuf>,
    /// Where servers come to, with :tls behind it by TLS, which shows the certificate of --cert;
    /// port 0 takes a free one [with --registry: 127.0.0.1:0]
    #[arg(long, value_name = "ADDRESS", requires = "registry")]
    #[arg(default_value_if("registry", ArgPredicate::IsPresent, "127.0.0.1:0"))]
    pub at: Vec<Address>,
    /// With TLS: let in only servers whom one of the authorities in this file (PEM) has certified
    #[arg(long, value_name = "FILE", requires_all = ["registry", "cert"])]
    pub client_ca: Option<PathBuf>,
    /// What registries tell servers instead of that
    #[arg(long, value_name = "ADDRESS", requires = "registry")]
    pub advertise: Vec<Address>,
    /// Share among the instances of the resource
    #[arg(long, value_name = "N", default_value_t = 1, requires = "served")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub weight: u32,
    /// Consumers at a time at most; 0 for no bound
    #[arg(long, value_name = "N", default_value_t = 0, requires = "served")]
    pub capacity: u64,
    /// All instances number alike, in this epoch (letters a to z and digits), because each is given
    /// the same input from its beginning: one goes on where another stopped
    #[arg(long, value_name = "EPOCH", requires = "served", value_parser = parse_epoch)]
    pub replicas: Option<Epoch>,
    /// Who may read it, as in 'allow EUR* group:traders'; repeat it for several rules, of which the
    /// first that fits decides
    #[arg(long, value_name = "RULE", requires = "served")]
    pub access: Vec<String>,
    /// Serve so much longer when the input has ended
    #[arg(long, value_name = "SECONDS", default_value_t = 0, requires = "served")]
    pub stay: u64,
}

impl Serving {
    /// Whether the program is to serve by itself.
    pub fn is_wanted(&self) -> bool {
        !self.registry.is_empty() || !self.dial.is_empty()
    }

    /// Begins to serve these resources, all alike.
    ///
    /// # Errors
    /// A sentence: what cannot be served, or where.
    pub fn start(
        &self,
        resources: &[String],
        terms: Terms,
        papers: &PaperArgs,
    ) -> Result<Publisher, String> {
        let (first, others) = resources.split_first().ok_or("no resource is named")?;
        let served = |name: &String| Served {
            weight: self.weight,
            capacity: self.capacity,
            access: self.access.clone(),
            replicas: self.replicas.is_some(),
            epoch: self.replicas,
            ..Served::new(name.as_str())
        };
        let mut builder = Publisher::builder(first.as_str());
        builder.served = served(first);
        builder.tls = self.protection(papers)?;
        builder.listen.clone_from(&self.at);
        builder.settings.registries.clone_from(&self.registry);
        builder.settings.dial.clone_from(&self.dial);
        if let Some(path) = &self.key_file {
            builder.key = read_key(path).map_err(|error| format!("--key-file: {error}"))?;
        }
        builder.settings.addresses.clone_from(&self.advertise);
        let builder =
            others.iter().fold(builder, |builder, name| builder.also(served(name), terms));
        let publisher = builder.start(terms).map_err(|error| error.to_string())?;
        for address in publisher.addresses() {
            eprintln!("serving {} at {address}", resources.join(", "));
        }
        for address in &self.dial {
            eprintln!("serving {} to {address}", resources.join(", "));
        }
        Ok(publisher)
    }

    /// TLS on both sides, as far as an address asks for it.
    fn protection(&self, papers: &PaperArgs) -> Result<Protection, String> {
        let dialled = [&self.registry[..], &self.dial].concat();
        let secure = |address: &&Address| address.is_secure();
        match self.at.iter().find(secure) {
            None => papers.protection(&dialled),
            Some(address) if papers.cert.is_none() => {
                Err(format!("--at {address}: TLS needs a certificate: --cert and --key"))
            }
            Some(_) => {
                if dialled.iter().any(|address| address.is_secure()) {
                    papers.protection(&dialled)?;
                }
                let tls = Protection::read(&papers.papers(), self.client_ca.as_deref());
                tls.map_err(|error| error.to_string())
            }
        }
    }

    /// The input has ended: serves for as long as it was told to, then lets consumers go; what was
    /// counted.
    pub fn end(&self, publisher: Publisher) -> Option<Counts> {
        // pause: the time that the operator has asked for
        std::thread::sleep(std::time::Duration::from_secs(self.stay));
        let counts = publisher.counts().ok();
        publisher.stop(GRACE);
        counts
    }
}

fn parse_epoch(text: &str) -> Result<Epoch, String> {
    Epoch::parse(text).ok_or_else(|| "up to 13 of a-z 0-9, not beginning with 0".into())
}

/// Ticks go to whoever reads them.
#[derive(Debug)]
pub struct ServedSink {
    publisher: Publisher,
    /// By resource.
    others: Vec<(Arc<str>, Publisher)>,
}

impl ServedSink {
    /// A sink that publishes there.
    pub const fn new(publisher: Publisher) -> Self {
        Self { publisher, others: Vec::new() }
    }

    /// The publisher.
    pub fn into_publisher(self) -> Publisher {
        self.publisher
    }

    fn of(&mut self, resource: &str) -> &Publisher {
        let at = self.others.iter().position(|(name, _)| &**name == resource);
        let at = at.unwrap_or_else(|| {
            self.others.push((resource.into(), self.publisher.for_resource(resource)));
            self.others.len() - 1
        });
        &self.others[at].1
    }
}

impl Sink for ServedSink {
    fn publish(&mut self, batch: &[Tick]) -> Result<(), String> {
        for run in batch.chunk_by(|a, b| a.name.resource() == b.name.resource()) {
            let messages = run.iter().map(|tick| (tick.name.subject(), tick.payload.to_vec()));
            let published = self.of(run[0].name.resource()).publish_many(messages);
            published.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}
