//! Figures in the text format of OpenMetrics 1.0, which Prometheus reads.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use super::figures::{Cluster, Figures};

/// What the text below is.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All of the figures, each with what it means.
///
/// # Errors
/// [`fmt::Error`] if the library cannot write them.
pub(crate) fn exposition(figures: &Figures) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("sottovoce");
    registry.register_collector(Box::new(figures.clone()));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.process(&mut page)?;
        self.people(&mut page)?;
        self.work(&mut page)?;
        self.directory(&mut page)?;
        self.cluster.as_ref().map_or(Ok(()), |cluster| cluster.nodes(&mut page))
    }
}

impl Figures {
    fn process(&self, page: &mut Page<'_>) -> fmt::Result {
        page.info("build", "The program that runs", [("version", self.version.as_str())])?;
        page.gauge("start_time", "When the server started, since 1970", Some(Unit::Seconds), self.started)?;
        page.gauge("uptime", "How long the server has been running", Some(Unit::Seconds), self.uptime_seconds)?;
        page.gauge("ready", "1 if the node should get new connections, as /readyz says", None, self.ready.into())?;
        page.gauge("draining", "1 once the server was told to stop", None, self.draining.into())
    }

    fn people(&self, page: &mut Page<'_>) -> fmt::Result {
        page.gauge("connections", "Connections that are open", None, self.connections)?;
        let help = "Those of the connections whose user is not logged in";
        page.gauge("connections_pending", help, None, self.pending)?;
        page.gauge("sessions", "Connections whose user is logged in", None, self.sessions)?;
        let help = "Sessions that are in a chat; a chat has two, which may be at different nodes";
        page.gauge("chat_sides", help, None, self.chat_sides)
    }

    fn work(&self, page: &mut Page<'_>) -> fmt::Result {
        let refused = |cause: &str| self.refusals.get(cause).copied().unwrap_or_default();
        let handshakes =
            [("done", self.handshakes), ("failed", refused("handshake")), ("slow", refused("slow_handshake"))];
        page.counters("handshakes", "TLS handshakes, by how they ended", None, "result", handshakes)?;
        page.counter("log_ins", "Log-ins that were let in", self.log_ins)?;
        let (received, sent) = (self.relayed.received, self.relayed.sent);
        let frames = [("received", received.frames), ("sent", sent.frames)];
        let help = "Sealed frames of chats, from clients and to clients";
        page.counters("relayed_frames", help, None, "direction", frames)?;
        let bytes = [("received", received.bytes), ("sent", sent.bytes)];
        page.counters("relayed", "Bytes of these frames", Some(Unit::Bytes), "direction", bytes)?;
        let help = "Letters that wait in the mailboxes of all sessions";
        page.gauge("mailbox_letters", help, None, self.mailboxes.letters)?;
        page.gauge("mailbox_letters_max", "Letters in the fullest mailbox", None, self.mailboxes.fullest)?;
        let refusals = self.refusals.iter().map(|(cause, count)| (cause.as_str(), *count));
        page.counters("refusals", "What was refused, by cause", None, "cause", refusals)
    }

    fn directory(&self, page: &mut Page<'_>) -> fmt::Result {
        let help = "1 if the directory of users can be read; if not, nobody is let in";
        page.gauge("directory_readable", help, None, self.directory.readable.into())?;
        let Some(age) = self.directory.seconds_since_read else {
            return Ok(());
        };
        let help = "How long ago the directory of users was read last";
        let metric = page.0.encode_descriptor("directory_read_age", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        ConstGauge::new(age).encode(metric)
    }
}

impl Cluster {
    fn nodes(&self, page: &mut Page<'_>) -> fmt::Result {
        let help = "1 if what connects the nodes can be reached";
        page.gauge("cluster_connected", help, None, self.connected.into())?;
        page.gauge("cluster_nodes", "Nodes that are known, this one counted", None, self.nodes)?;
        page.gauge("cluster_users", "Users who are online, at all nodes", None, self.users)?;
        let signals = [
            ("sent", self.signals_sent),
            ("received", self.signals_received),
            ("undelivered", self.signals_undelivered),
        ];
        page.counters("cluster_signals", "Signals to and from sessions at other nodes", None, "what", signals)
    }
}

struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn gauge(&mut self, name: &str, help: &str, unit: Option<Unit>, value: u64) -> fmt::Result {
        let metric = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        ConstGauge::new(value).encode(metric)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(metric)
    }

    /// One counter for each value of a label.
    fn counters<'v>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        label: &str,
        values: impl IntoIterator<Item = (&'v str, u64)>,
    ) -> fmt::Result {
        let mut metric: MetricEncoder<'_> = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        for (value, count) in values {
            ConstCounter::new(count).encode(metric.encode_family(&[(label, value)])?)?;
        }
        Ok(())
    }

    fn info(&mut self, name: &str, help: &str, labels: [(&str, &str); 1]) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(&labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        census::Mailboxes,
        counters::{Counters, Flow, Relayed},
        health::{DirectoryHealth, NotReady},
    };

    fn figures() -> Figures {
        let refusals = Counters::default().refused().by_cause().map(|(cause, _)| (cause.to_owned(), 6)).collect();
        Figures {
            version: "1.2.3".to_owned(),
            started: 1_800_000_000,
            uptime_seconds: 61,
            ready: false,
            reason: Some(NotReady::Cluster),
            draining: false,
            metrics_port: Some(7479),
            connections: 5,
            pending: 1,
            sessions: 4,
            chat_sides: 2,
            handshakes: 9,
            log_ins: 8,
            relayed: Relayed { received: Flow { frames: 10, bytes: 3_000 }, sent: Flow { frames: 11, bytes: 3_300 } },
            mailboxes: Mailboxes { letters: 12, fullest: 7 },
            refusals,
            directory: DirectoryHealth { readable: true, seconds_since_read: Some(0.25) },
            cluster: Some(Cluster {
                connected: false,
                nodes: 3,
                users: 40,
                signals_sent: 51,
                signals_received: 52,
                signals_undelivered: 53,
            }),
        }
    }

    #[test]
    fn each_figure_is_there_with_its_number() {
        let page = exposition(&figures()).unwrap();
        let samples: Vec<_> = page.lines().filter(|line| !line.starts_with('#') && !line.contains("cause=")).collect();
        assert_eq!(
            samples,
            [
                "sottovoce_build_info{version=\"1.2.3\"} 1",
                "sottovoce_start_time_seconds 1800000000",
                "sottovoce_uptime_seconds 61",
                "sottovoce_ready 0",
                "sottovoce_draining 0",
                "sottovoce_connections 5",
                "sottovoce_connections_pending 1",
                "sottovoce_sessions 4",
                "sottovoce_chat_sides 2",
                "sottovoce_handshakes_total{result=\"done\"} 9",
                "sottovoce_handshakes_total{result=\"failed\"} 6",
                "sottovoce_handshakes_total{result=\"slow\"} 6",
                "sottovoce_log_ins_total 8",
                "sottovoce_relayed_frames_total{direction=\"received\"} 10",
                "sottovoce_relayed_frames_total{direction=\"sent\"} 11",
                "sottovoce_relayed_bytes_total{direction=\"received\"} 3000",
                "sottovoce_relayed_bytes_total{direction=\"sent\"} 3300",
                "sottovoce_mailbox_letters 12",
                "sottovoce_mailbox_letters_max 7",
                "sottovoce_directory_readable 1",
                "sottovoce_directory_read_age_seconds 0.25",
                "sottovoce_cluster_connected 0",
                "sottovoce_cluster_nodes 3",
                "sottovoce_cluster_users 40",
                "sottovoce_cluster_signals_total{what=\"sent\"} 51",
                "sottovoce_cluster_signals_total{what=\"received\"} 52",
                "sottovoce_cluster_signals_total{what=\"undelivered\"} 53",
            ]
        );
        assert_eq!(page.matches("sottovoce_refusals_total{cause=").count(), figures().refusals.len());
    }

    #[test]
    fn each_metric_is_explained_to_operators() {
        let document = include_str!("../../../../docs/protocol.md");
        let section = document.split_once("### Metrics and health").unwrap().1.split_once("\n### ").unwrap().0;
        let explained: Vec<_> =
            section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        let page = exposition(&figures()).unwrap();
        let mut there: Vec<_> = page
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split(['{', ' ']).next()?.strip_prefix("sottovoce_"))
            .collect();
        there.dedup();
        assert_eq!(explained, there);
    }

    #[test]
    fn a_program_reads_what_a_server_writes() {
        let text = serde_json::to_string(&figures()).unwrap();
        assert_eq!(serde_json::from_str::<Figures>(&text).unwrap(), figures());
        assert!(text.contains("\"reason\":\"cluster\""), "{text}");
    }
}
