//! Metrics and health, over HTTP/1.1, for programs that watch the server. It answers whoever reaches its address, which
//! is this machine alone unless the operator has it otherwise; so there is nothing in it that tells of a person.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Uri, Version,
    body::Incoming,
    header::{self, HeaderName, HeaderValue},
    http::uri::Authority,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::ServerName;
use tokio::net::{TcpListener, TcpStream};

use super::{
    exposition::{CONTENT_TYPE, exposition},
    figures::{Figures, not_ready},
    visitors::Visitors,
};
use crate::{
    config::Metrics,
    listener::{RETRY_PAUSE, Relay, listen, now, pause},
};

/// Bytes of a request's head. A longer one is refused by the library, with 431.
const MAX_HEAD: usize = 8 * 1024;
/// Lines of it, likewise.
const MAX_HEADERS: usize = 64;
/// How long a request's head may take to come.
const HEAD_PATIENCE: Duration = Duration::from_secs(5);
const PLAIN: &str = "text/plain; charset=utf-8";

/// Listens where metrics are to be had. Nowhere, which the log says, if that was left to the server and something else is
/// there.
///
/// # Errors
/// The system's, with the address that the operator has set and it does not give.
pub(crate) fn bind(metrics: Metrics) -> Result<Option<TcpListener>, (SocketAddr, io::Error)> {
    match metrics {
        Metrics::Off => Ok(None),
        Metrics::At(address) => listen(address).map(Some).map_err(|error| (address, error)),
        Metrics::Auto => {
            let found = listen(Metrics::DEFAULT_ADDRESS);
            let told = found.inspect_err(|error| {
                tracing::warn!(%error, "no metrics are served, for their usual port is not to be had; set `metrics` in server.toml");
            });
            Ok(told.ok())
        }
    }
}

/// Answers whoever comes, until it is dropped.
pub(crate) async fn serve(listener: TcpListener, relay: Arc<Relay>) {
    let mut visitors = Visitors::default();
    loop {
        match listener.accept().await {
            Ok((socket, _)) => visitors.serve(visit(socket, relay.clone())),
            Err(error) => {
                tracing::debug!(%error, "nobody was let in to see the metrics");
                pause(RETRY_PAUSE).await;
            }
        }
    }
}

/// One request, and its answer.
async fn visit(socket: TcpStream, relay: Arc<Relay>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let relay = relay.clone();
        async move { Ok::<_, Infallible>(answer(&request, &relay).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE).max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
    // A connection that waits for another request would have a visitor's place.
    http.keep_alive(false);
    if let Err(error) = http.serve_connection(TokioIo::new(socket), answer).await {
        tracing::debug!(%error, "no answer to somebody who asked for metrics");
    }
}

async fn answer<B>(request: &Request<B>, relay: &Relay) -> Response<String> {
    if let Err(why) = is_for_us(request.version(), request.uri(), request.headers(), &relay.config.name) {
        return why.answer();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET and HEAD are answered here\n");
        refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match request.uri().path() {
        "/metrics" => match exposition(&Figures::of(relay, now()).await) {
            Ok(text) => response(StatusCode::OK, CONTENT_TYPE, text),
            Err(_) => response(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "the metrics cannot be written\n"),
        },
        "/healthz" => response(StatusCode::OK, PLAIN, "serving\n"),
        "/readyz" => match not_ready(relay, now()) {
            None => response(StatusCode::OK, PLAIN, "ready\n"),
            Some(why) => response(StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("not ready: {why}\n")),
        },
        _ => response(StatusCode::NOT_FOUND, PLAIN, "there are /metrics, /healthz and /readyz\n"),
    }
}

fn response(status: StatusCode, content_type: &'static str, text: impl Into<String>) -> Response<String> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    const FIXED: [(HeaderName, HeaderValue); 2] = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    response.headers_mut().extend(FIXED);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotForUs {
    /// It does not say, or not in one way, whom it is for.
    Unclear,
    /// It is for another.
    Another,
}

impl NotForUs {
    fn answer(self) -> Response<String> {
        match self {
            Self::Unclear => response(StatusCode::BAD_REQUEST, PLAIN, "one Host is needed\n"),
            Self::Another => response(
                StatusCode::MISDIRECTED_REQUEST,
                PLAIN,
                "Host has to be an IP address, localhost, or the server's own name\n",
            ),
        }
    }
}

/// Whether a request is for this server, by what it calls it. A page in a browser on this machine can have its own name
/// lead to 127.0.0.1 (DNS rebinding) and would be let read what it finds there; but a browser says that name, and it is
/// none of ours. An address is nobody's name, and what asks as in HTTP/1.0 and names nobody, as balancers do, is no browser.
fn is_for_us(version: Version, uri: &Uri, headers: &HeaderMap, name: &ServerName) -> Result<(), NotForUs> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(host.as_bytes().try_into().map_err(|_| NotForUs::Unclear)?),
        (None, _) if version <= Version::HTTP_10 => None,
        _ => return Err(NotForUs::Unclear),
    };
    // A proxy's way to ask says it in the first line as well.
    if [host.as_ref(), uri.authority()].into_iter().flatten().all(|host| is_ours(host, name)) {
        Ok(())
    } else {
        Err(NotForUs::Another)
    }
}

fn is_ours(host: &Authority, name: &ServerName) -> bool {
    if host.as_str().contains('@') {
        return false;
    }
    let host = host.host();
    let is_address = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.parse::<std::net::Ipv4Addr>().is_ok(),
    };
    is_address || host.eq_ignore_ascii_case("localhost") || host.eq_ignore_ascii_case(name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_for_this_server_if_it_names_an_address_or_its_name() {
        let judge_as = |version, uri: &str, hosts: &[&str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, host.parse().unwrap());
            }
            is_for_us(version, &uri.parse().unwrap(), &headers, &"Chat.Example".parse().unwrap())
        };
        let judge = |uri: &str, hosts: &[&str]| judge_as(Version::HTTP_11, uri, hosts);
        for host in
            ["127.0.0.1", "127.0.0.1:7479", "[::1]:7479", "10.1.2.3:80", "localhost", "LOCALHOST:1", "chat.example"]
        {
            assert_eq!(judge("/metrics", &[host]), Ok(()), "{host}");
            assert_eq!(judge("http://chat.example:7479/metrics", &[host]), Ok(()), "{host}");
            assert_eq!(judge("http://rebound.example/metrics", &[host]), Err(NotForUs::Another), "{host}");
        }
        let others = [
            "rebound.example",
            "rebound.example:7479",
            "127.0.0.1.rebound.example",
            "localhost.rebound.example",
            "chat.example.rebound.example",
            "xchat.example",
            "localhost.",
            "0x7f.1",
            "2130706433",
            "a@127.0.0.1",
            "[1.2.3.4]",
        ];
        for host in others {
            assert_ne!(judge("/metrics", &[host]), Ok(()), "{host}");
        }
        for hosts in [&[][..], &["127.0.0.1", "127.0.0.1"], &["127.0.0.1", "rebound.example"], &[""], &["a b"], &["/"]]
        {
            assert_eq!(judge("/metrics", hosts), Err(NotForUs::Unclear), "{hosts:?}");
        }
        let old = |uri: &str, hosts: &[&str]| judge_as(Version::HTTP_10, uri, hosts);
        assert_eq!(old("/readyz", &[]), Ok(()));
        assert_eq!(old("/readyz", &["rebound.example"]), Err(NotForUs::Another));
        assert_eq!(old("http://rebound.example/readyz", &[]), Err(NotForUs::Another));
        assert_eq!(old("/readyz", &["127.0.0.1", "127.0.0.1"]), Err(NotForUs::Unclear));
    }
}
