//! `server.toml`: what an operator can set, what it is set to when he does not, and within which bounds.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::{Range, RangeInclusive},
    path::{Path, PathBuf},
    time::Duration,
};

use protocol::{
    ServerName,
    limits::{MAX_PAGE, WINDOW_BYTES, WINDOW_FRAMES},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    admission::Limits,
    cluster::{NotARouter, RouterSetting},
    directory::{Location, LocationError},
    rate::Rate,
    session::Patience,
};

/// The port of a server whose operator names none. It stands in no list of registered or customary services.
pub const DEFAULT_PORT: u16 = 7478;

/// The port of a server's metrics whose operator names none.
pub const DEFAULT_METRICS_PORT: u16 = 7479;

/// Where metrics are to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metrics {
    /// At [`Self::DEFAULT_ADDRESS`], or nowhere if that is not to be had: two servers on one machine both start as they
    /// were made.
    Auto,
    /// Here, or the server does not start.
    At(SocketAddr),
    /// Nowhere.
    Off,
}

impl Metrics {
    /// Of this machine alone.
    pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), DEFAULT_METRICS_PORT);
}

/// What an operator can set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The name on the server's certificate, which is the second half of `name@server` for each of its users.
    pub name: ServerName,
    /// Where to listen: all addresses of the machine, IPv6 and IPv4, unless set otherwise. A relay is there to be
    /// reached from elsewhere, and answers nobody whose key is not registered.
    pub listen: SocketAddr,
    /// Where metrics and health are served over HTTP.
    pub metrics: Metrics,
    /// What is logged, as a filter of `tracing-subscriber`.
    pub log: String,
    /// Whether users are shared with other nodes, and through which servers.
    pub router: RouterSetting,
    /// The file with the certificates of the authorities that vouch for these servers, if not the system's. A relative path
    /// starts from the server's folder.
    pub router_ca: Option<PathBuf>,
    /// The file with what these servers are to be shown, if they ask. A relative path as above.
    pub router_credentials: Option<PathBuf>,
    /// How many of these servers keep who is online.
    pub router_replicas: usize,
    /// What tells this server's nodes from those of others on the same servers.
    pub cluster: String,
    /// Where the directory of users is. A relative path starts from the server's folder.
    pub directory: Location,
    /// The file whose first line is the password for the directory, if it has one. A relative path as above.
    pub directory_password_file: Option<PathBuf>,
    /// For the TLS handshake of a new connection.
    pub handshake_timeout: Duration,
    /// From the end of the handshake to `Login`.
    pub login_timeout: Duration,
    /// From a `Login` to its refusal, whatever the reason.
    pub refusal_delay: Duration,
    /// Between two frames of a client, pings among them.
    pub idle_timeout: Duration,
    /// From a request to talk to its answer.
    pub request_timeout: Duration,
    /// From the acceptance of a request to the key agreement that opens the chat.
    pub establishment_timeout: Duration,
    /// From the loss of a connection to the end of the chat that waits for it.
    pub grace_period: Duration,
    /// Between two looks at the directory for changes that another process made.
    pub directory_poll: Duration,
    /// From when the last client is told that the server stops to the end of its connection.
    pub shutdown_timeout: Duration,
    /// From the order to stop, and the word that the node is not ready, to when nobody is let in any more.
    pub drain_delay: Duration,
    /// From then to when the last client is told.
    pub drain_time: Duration,
    /// Connections that are open at once.
    pub max_connections: usize,
    /// Connections of one address that are open at once. Here and below, an IPv6 address counts by its first 64 bits.
    pub max_connections_per_address: usize,
    /// Connections that are open at once without their user being logged in.
    pub max_pending: usize,
    /// The same of one address.
    pub max_pending_per_address: usize,
    /// New connections of one address in a minute.
    pub connection_rate_per_address: usize,
    /// New connections of one address at once, when it has made none for a while.
    pub connection_burst_per_address: usize,
    /// Names in one page of the online list.
    pub list_page: usize,
    /// Pages of the online list that one client gets in a minute.
    pub list_rate: usize,
    /// Pages that one client gets at once, when it has asked for none for a while.
    pub list_burst: usize,
    /// Requests to talk of one client that are passed on in a minute.
    pub request_rate: usize,
    /// Requests of one client that are passed on at once, when it has made none for a while.
    pub request_burst: usize,
    /// Frames that may wait for one client.
    pub mailbox_frames: usize,
    /// Bytes of sealed frames, key packages and welcomes that may wait for one client.
    pub mailbox_bytes: usize,
}

/// Why a configuration file cannot be used. Each message names the file and says what to change.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no such file.
    #[error("there is no {}; `sottovoce server init` makes one", .0.display())]
    Missing(PathBuf),
    /// The system does not let it be read, or it is no UTF-8.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is no TOML.
    #[error("{}, line {line}: {problem}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser says.
        problem: String,
    },
    /// A setting is not known, not what it should be, or out of bounds.
    #[error("{}, line {line}: {key} {problem}", path.display())]
    Setting {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The setting.
        key: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// The one setting that has no default is not there.
    #[error("{} does not say the server's name; add a line such as name = \"chat.example\"", .0.display())]
    Nameless(PathBuf),
}

impl Config {
    /// The configuration of a server called `name`, all else at its default.
    pub fn new(name: ServerName) -> Self {
        Self {
            name,
            listen: (Ipv6Addr::UNSPECIFIED, DEFAULT_PORT).into(),
            metrics: Metrics::Auto,
            log: "info".to_owned(),
            router: RouterSetting::Local,
            router_ca: None,
            router_credentials: None,
            router_replicas: 1,
            cluster: "sottovoce".to_owned(),
            directory: Location::Sqlite("directory.db".into()),
            directory_password_file: None,
            handshake_timeout: Duration::from_secs(10),
            login_timeout: Duration::from_secs(10),
            refusal_delay: Duration::from_millis(300),
            idle_timeout: Duration::from_secs(15),
            request_timeout: Duration::from_secs(60),
            establishment_timeout: Duration::from_secs(15),
            grace_period: Duration::from_secs(60),
            directory_poll: Duration::from_secs(1),
            shutdown_timeout: Duration::from_secs(5),
            drain_delay: Duration::from_secs(0),
            drain_time: Duration::from_secs(0),
            max_connections: 20_000,
            max_connections_per_address: 5_000,
            max_pending: 2_000,
            max_pending_per_address: 1_000,
            connection_rate_per_address: 6_000,
            connection_burst_per_address: 5_000,
            list_page: 200,
            list_rate: 600,
            list_burst: 100,
            request_rate: 60,
            request_burst: 20,
            mailbox_frames: 1024,
            mailbox_bytes: 4 << 20,
        }
    }

    /// How many connections are let in.
    pub fn limits(&self) -> Limits {
        Limits {
            connections: self.max_connections,
            per_address: self.max_connections_per_address,
            pending: self.max_pending,
            pending_per_address: self.max_pending_per_address,
            rate: Rate::new(self.connection_rate_per_address, self.connection_burst_per_address),
        }
    }

    /// What each session gets of it.
    pub fn patience(&self) -> Patience {
        Patience {
            login: self.login_timeout,
            refusal: self.refusal_delay,
            idle: self.idle_timeout,
            request: self.request_timeout,
            establishment: self.establishment_timeout,
            grace: self.grace_period,
            lists: Rate::new(self.list_rate, self.list_burst),
            requests: Rate::new(self.request_rate, self.request_burst),
        }
    }

    /// Reads the file at `path`. What it does not set is at its default.
    ///
    /// # Errors
    /// [`ConfigError`] when the file cannot be read, is no TOML, sets something that this version does not know, or
    /// sets something to what it cannot be.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => ConfigError::Missing(path.to_owned()),
            _ => ConfigError::Unreadable { path: path.to_owned(), source },
        })?;
        let table = DeTable::parse(&text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            line: line_of(&text, error.span()),
            problem: error.message().lines().collect::<Vec<_>>().join(", "),
        })?;
        let wrong = |key: &str, span: Range<usize>, problem: String| ConfigError::Setting {
            path: path.to_owned(),
            line: line_of(&text, Some(span)),
            key: key.to_owned(),
            problem,
        };
        let mut table = table.into_inner();
        let (key, value) = table.remove_entry(NAME).ok_or_else(|| ConfigError::Nameless(path.to_owned()))?;
        let name = text_of(&value).and_then(|text| text.parse().ok());
        let mut config = Self::new(name.ok_or_else(|| wrong(NAME, key.span(), NAME_PROBLEM.to_owned()))?);
        for setting in settings(&mut config) {
            if let Some((key, value)) = table.remove_entry(setting.key) {
                setting.place.read(&value).map_err(|problem| wrong(setting.key, key.span(), problem))?;
            }
        }
        match table.iter().min_by_key(|(key, _)| key.span().start) {
            Some((key, _)) => Err(wrong(key.get_ref(), key.span(), UNKNOWN_PROBLEM.to_owned())),
            None => Ok(config),
        }
    }

    /// The text of a configuration file for a server called `name`: every setting with its default, its bounds, and
    /// what it does. Where the default is meant to be changed only with thought, the setting's line starts with `#`.
    pub fn commented(name: &ServerName) -> String {
        Self::new(name.clone()).written()
    }

    /// The text of a configuration file that sets all that is set here. What is at its default is as in
    /// [`Config::commented`].
    pub fn written(&self) -> String {
        let (mut config, mut default) = (self.clone(), Self::new(self.name.clone()));
        let mut text = format!("{HEAD}\n# {NAME_COMMENT}\n{NAME} = {}\n", quoted(self.name.as_str()));
        for (setting, default) in settings(&mut config).into_iter().zip(settings(&mut default)) {
            text.push('\n');
            for line in setting.comment.lines().map(str::to_owned).chain(setting.place.bounds()) {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "# {line}");
            }
            let value = setting.place.written();
            let mark = if setting.live || value != default.place.written() { "" } else { "#" };
            let _ = writeln!(text, "{mark}{} = {value}", setting.key);
        }
        text
    }
}

const HEAD: &str = "\
# Settings of a Sottovoce server. Where a setting's line starts with #, it shows the default: take the # away and
# change the value. The server reads this file when it starts.
# A time is a text such as \"300ms\", \"10s\" or \"1m 30s\".
";
const NAME: &str = "name";
const NAME_COMMENT: &str = "What clients call this server: the name or IP address on its certificate.";
const NAME_PROBLEM: &str = "should be the host name or IP address on the server's certificate, in quotation marks";
const UNKNOWN_PROBLEM: &str =
    "is no setting of this version; the file that `sottovoce server init` writes has all of them";

/// Characters of the longest token.
const MAX_TOKEN: usize = 32;
const TOKEN_PROBLEM: &str = "should be 1 to 32 letters, digits, - and _, in quotation marks, such as \"sottovoce\"";

/// One line of the file, tied to its place in a [`Config`].
struct Setting<'a> {
    key: &'static str,
    place: Place<'a>,
    live: bool,
    comment: &'static str,
}

enum Place<'a> {
    Address(&'a mut SocketAddr),
    Metrics(&'a mut Metrics),
    Text(&'a mut String),
    Router(&'a mut RouterSetting),
    /// A part of the subjects of NATS.
    Token(&'a mut String),
    Location(&'a mut Location),
    /// Empty where there is none.
    File(&'a mut Option<PathBuf>),
    Time(&'a mut Duration, RangeInclusive<Duration>),
    Count(&'a mut usize, RangeInclusive<usize>),
}

/// All settings but the name: the one table that the file is written from and read by.
fn settings(config: &mut Config) -> Vec<Setting<'_>> {
    let ms = Duration::from_millis;
    let s = Duration::from_secs;
    let time = |key, time, least, most, comment| {
        let place = Place::Time(time, least..=most);
        Setting { key, place, live: false, comment }
    };
    let count = |key, count, least, most, comment| {
        let place = Place::Count(count, least..=most);
        Setting { key, place, live: false, comment }
    };
    vec![
        Setting {
            key: "listen",
            place: Place::Address(&mut config.listen),
            live: true,
            comment: "Address and port to listen on. [::] is every address of this machine, IPv6 and IPv4;\n\
                      on a machine without IPv6 write 0.0.0.0, and for this machine alone 127.0.0.1.",
        },
        Setting {
            key: "metrics",
            place: Place::Metrics(&mut config.metrics),
            live: false,
            comment: "Where Prometheus and a balancer read metrics and health over HTTP: an address and port, or \"off\".\n\
                      They name nobody, but say how much goes on to whoever reaches the address. \"auto\" is 127.0.0.1:7479,\n\
                      which is this machine alone, unless something else is there.",
        },
        Setting {
            key: "log",
            place: Place::Text(&mut config.log),
            live: false,
            comment: "What to log: off, error, warn, info, debug or trace. The last two are for finding faults, and may show \
                      names.",
        },
        Setting {
            key: "router",
            place: Place::Router(&mut config.router),
            live: false,
            comment: "Where users of other nodes are found: \"local\" if this process is the only one, or the addresses of NATS\n\
                      servers that all nodes share, such as \"nats://10.0.0.5:4222\", with commas between them. What leaves this\n\
                      machine is encrypted. See docs/operating.md.",
        },
        Setting {
            key: "router_ca",
            place: Place::File(&mut config.router_ca),
            live: false,
            comment: "The file with the certificate of the authority that vouches for the NATS servers (PEM), in this folder\n\
                      or elsewhere. Without it, the system's authorities are trusted.",
        },
        Setting {
            key: "router_credentials",
            place: Place::File(&mut config.router_credentials),
            live: false,
            comment: "The file with what this node shows the NATS servers: one that NATS's tools made (.creds), or one of two\n\
                      lines, user and password. Nobody else may be able to read it.",
        },
        count(
            "router_replicas",
            &mut config.router_replicas,
            1,
            5,
            "How many of the NATS servers keep who is online: 3 where there are three of them, so that one can fail.",
        ),
        Setting {
            key: "cluster",
            place: Place::Token(&mut config.cluster),
            live: false,
            comment: "What tells the nodes of this server from those of others on the same NATS servers.",
        },
        Setting {
            key: "directory",
            place: Place::Location(&mut config.directory),
            live: false,
            comment: "Where the directory of users is. \"sqlite:FILE\" is a file that this machine has to itself. For several\n\
                      servers that share their users, a PostgreSQL database that has nothing else in it:\n\
                      \"postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full&sslrootcert=FILE\". Without the last two only on\n\
                      this machine: a loopback address, or the folder of the Unix socket with each / written as %2F. A\n\
                      relative FILE starts from the folder of this file. No password belongs here. Whoever runs the\n\
                      database can register keys, and so log in as anybody.",
        },
        Setting {
            key: "directory_password_file",
            place: Place::File(&mut config.directory_password_file),
            live: false,
            comment: "The file whose first line is PostgreSQL's password for USER, if it asks for one. Only the user who runs\n\
                      the server may be able to read it. Empty for none.",
        },
        time(
            "handshake_timeout",
            &mut config.handshake_timeout,
            ms(100),
            s(600),
            "How long a new connection may take over its TLS handshake.",
        ),
        time(
            "login_timeout",
            &mut config.login_timeout,
            ms(100),
            s(600),
            "How long after that a client may take to say who it is.",
        ),
        time(
            "refusal_delay",
            &mut config.refusal_delay,
            ms(10),
            s(5),
            "How long after it came in a log-in is refused. Longer than the directory ever takes to answer, so that\n\
             the time does not tell an unknown name from a wrong key.",
        ),
        time(
            "idle_timeout",
            &mut config.idle_timeout,
            s(10),
            s(86_400),
            "How long a client may be silent before its connection counts as lost. Clients show every 6 s that they are\n\
             there, without being asked.",
        ),
        time(
            "request_timeout",
            &mut config.request_timeout,
            s(1),
            s(3600),
            "How long a request to talk may go unanswered.",
        ),
        time(
            "establishment_timeout",
            &mut config.establishment_timeout,
            s(1),
            s(600),
            "How long two clients may take to agree on their keys once a request is accepted.",
        ),
        time(
            "grace_period",
            &mut config.grace_period,
            s(1),
            s(86_400),
            "How long a chat waits for somebody whose connection is lost. Until then nobody else can ask the other.",
        ),
        // A removed user's connection has to end within 5 s of the removal (B8).
        time(
            "directory_poll",
            &mut config.directory_poll,
            ms(100),
            s(4),
            "How often to look whether `sottovoce user` changed the directory. So long can a removed user stay on.",
        ),
        time(
            "shutdown_timeout",
            &mut config.shutdown_timeout,
            ms(100),
            s(600),
            "How long to wait, when told to stop, for clients to take their leave.",
        ),
        time(
            "drain_delay",
            &mut config.drain_delay,
            s(0),
            s(600),
            "Where several servers stand behind a balancer: how long one that is told to stop lets people in while it says\n\
             that it is not ready (/readyz), so that the balancer sends no more to it.",
        ),
        time(
            "drain_time",
            &mut config.drain_time,
            s(0),
            s(600),
            "The same: over how long it then spreads the word to its clients, who come back at once, to another. A second\n\
             order to stop hurries. systemd's TimeoutStopSec has to be longer than both and shutdown_timeout together.",
        ),
        count(
            "max_connections",
            &mut config.max_connections,
            1,
            1_000_000,
            "How many connections may be open at once. Each takes a file descriptor (ulimit -n).",
        ),
        // A whole building behind one address, or a balancer that hides where its connections come from.
        count(
            "max_connections_per_address",
            &mut config.max_connections_per_address,
            1,
            1_000_000,
            "How many of them may come from one address. Here and below, an IPv6 address counts by its first 64 bits.\n\
             If all your users come through one address, a balancer's perhaps, raise this and the four below.",
        ),
        count(
            "max_pending",
            &mut config.max_pending,
            1,
            1_000_000,
            "How many connections may be open whose user is not logged in yet. For one more, the address with the most\n\
             of them, in the network (/48 of IPv6) with the most, loses the one that has got no further for the longest\n\
             time.",
        ),
        count(
            "max_pending_per_address",
            &mut config.max_pending_per_address,
            1,
            1_000_000,
            "How many of them may come from one address. For one more, it loses one of its own in the same way.",
        ),
        count(
            "connection_rate_per_address",
            &mut config.connection_rate_per_address,
            1,
            1_000_000,
            "How many new connections one address may make in a minute. Further ones are closed at once.",
        ),
        // All who may be connected from there may come back at once.
        count(
            "connection_burst_per_address",
            &mut config.connection_burst_per_address,
            1,
            1_000_000,
            "How many it may make at once before that counts, so that all can come back when the server is restarted.",
        ),
        count("list_page", &mut config.list_page, 1, MAX_PAGE, "How many names one page of the online list has."),
        // The full-screen face asks every 4 s for all pages that its user has scrolled to, and at each key of a search.
        count(
            "list_rate",
            &mut config.list_rate,
            1,
            1_000_000,
            "How many pages of the online list one client gets in a minute. One that shows the list asks 15 times.",
        ),
        count("list_burst", &mut config.list_burst, 1, 1_000_000, "How many it gets at once before that counts."),
        count(
            "request_rate",
            &mut config.request_rate,
            1,
            1_000_000,
            "How many requests to talk one client may make in a minute.",
        ),
        count(
            "request_burst",
            &mut config.request_burst,
            1,
            1_000_000,
            "How many it may make at once before that counts.",
        ),
        // Both sides of a mailbox's chat may send their window again while the old one is still in it.
        count(
            "mailbox_frames",
            &mut config.mailbox_frames,
            2 * WINDOW_FRAMES + 64,
            65_536,
            "How many frames may wait for a client that reads slowly, before its chat is closed.",
        ),
        count(
            "mailbox_bytes",
            &mut config.mailbox_bytes,
            2 * WINDOW_BYTES,
            1 << 30,
            "How many bytes may wait for a client that reads slowly, before its chat is closed.",
        ),
    ]
}

impl Place<'_> {
    fn read(self, value: &Spanned<DeValue<'_>>) -> Result<(), String> {
        let text = text_of(value);
        match self {
            Self::Address(place) => {
                let address = text.and_then(|text| text.parse().ok());
                *place = address
                    .ok_or("should be an IP address and port in quotation marks, such as \"[::]:7478\"".to_owned())?;
            }
            Self::Metrics(place) => {
                *place = match text {
                    Some("auto") => Metrics::Auto,
                    Some("off") => Metrics::Off,
                    text => Metrics::At(
                        text.and_then(|text| text.parse().ok()).ok_or(
                            "should be an IP address and port such as \"127.0.0.1:7479\", or \"auto\" or \"off\""
                                .to_owned(),
                        )?,
                    ),
                };
            }
            Self::Text(place) => {
                *place = text.ok_or("should be a text in quotation marks, such as \"info\"".to_owned())?.to_owned();
            }
            Self::Router(place) => {
                let router = text.ok_or(NotARouter::Other).and_then(str::parse);
                *place = router.map_err(|problem| problem.to_string())?;
            }
            Self::Token(place) => {
                let is_token = |text: &&str| {
                    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
                    (1..=MAX_TOKEN).contains(&text.len()) && text.bytes().all(is_allowed)
                };
                *place = text.filter(is_token).ok_or(TOKEN_PROBLEM.to_owned())?.to_owned();
            }
            Self::Location(place) => {
                let location = text.ok_or(LocationError::Unreadable).and_then(str::parse);
                *place = location.map_err(|error| error.to_string())?;
            }
            Self::File(place) => {
                let file = text.ok_or("should be a path in quotation marks, or \"\" for none".to_owned())?;
                *place = Some(file).filter(|file| !file.is_empty()).map(PathBuf::from);
            }
            Self::Time(place, bounds) => {
                let time = text.and_then(|text| humantime::parse_duration(text).ok());
                *place = time.filter(|time| bounds.contains(time)).ok_or_else(|| {
                    let (least, most) = (format_time(*bounds.start()), format_time(*bounds.end()));
                    format!(
                        "should be a time from {least} to {most}, in quotation marks, such as {}",
                        format_time(*place)
                    )
                })?;
            }
            Self::Count(place, bounds) => {
                let count = match value.get_ref() {
                    DeValue::Integer(number) => usize::from_str_radix(number.as_str(), number.radix()).ok(),
                    _ => None,
                };
                *place = count
                    .filter(|count| bounds.contains(count))
                    .ok_or_else(|| format!("should be a whole number from {} to {}", bounds.start(), bounds.end()))?;
            }
        }
        Ok(())
    }

    fn written(&self) -> String {
        match self {
            Self::Address(address) => quoted(&address.to_string()),
            Self::Metrics(Metrics::Auto) => quoted("auto"),
            Self::Metrics(Metrics::Off) => quoted("off"),
            Self::Metrics(Metrics::At(address)) => quoted(&address.to_string()),
            Self::Text(text) | Self::Token(text) => quoted(text),
            Self::Router(router) => quoted(&router.to_string()),
            Self::Location(location) => quoted(&location.written()),
            Self::File(file) => quoted(&file.as_ref().map(|file| file.display().to_string()).unwrap_or_default()),
            Self::Time(time, _) => format_time(**time),
            Self::Count(count, _) => count.to_string(),
        }
    }

    fn bounds(&self) -> Option<String> {
        match self {
            Self::Address(_)
            | Self::Metrics(_)
            | Self::Text(_)
            | Self::Router(_)
            | Self::Token(_)
            | Self::Location(_)
            | Self::File(_) => None,
            Self::Time(_, bounds) => {
                Some(format!("From {} to {}.", format_time(*bounds.start()), format_time(*bounds.end())))
            }
            Self::Count(_, bounds) => Some(format!("From {} to {}.", bounds.start(), bounds.end())),
        }
    }
}

fn text_of<'a>(value: &'a Spanned<DeValue<'_>>) -> Option<&'a str> {
    match value.get_ref() {
        DeValue::String(text) => Some(text),
        _ => None,
    }
}

fn format_time(time: Duration) -> String {
    quoted(&humantime::format_duration(time).to_string())
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// The line that a span of `text` starts in, counted from 1.
fn line_of(text: &str, span: Option<Range<usize>>) -> usize {
    let start = span.map_or(0, |span| span.start);
    text.bytes().take(start).filter(|byte| *byte == b'\n').count().saturating_add(1)
}
