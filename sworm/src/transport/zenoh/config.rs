//! zenoh's configuration: what Sworm needs set, and what it leaves to the user.

use std::sync::Once;

use zenoh::Config;

use crate::transport::TransportError;

/// Settings that were measured to work as a whole; a user's own values win over them.
///
/// Opening returns at once, whoever is absent: each endpoint is tried in the background for ever (a connect timeout of 0
/// would try once). A silent peer is noticed after the lease; all nodes must have the same.
const SETTINGS: &[(&str, &str)] = &[
    ("mode", r#""peer""#),
    ("open/return_conditions/connect_scouted", "false"),
    ("connect/timeout_ms", "-1"),
    ("connect/exit_on_failure", "false"),
    ("connect/retry", "{period_init_ms: 200, period_max_ms: 1000, period_increase_factor: 2}"),
    ("listen/timeout_ms", "0"),
    ("listen/exit_on_failure", "true"),
    ("timestamping/enabled", "false"),
    ("transport/unicast/open_timeout", "2000"),
    ("transport/unicast/accept_timeout", "2000"),
    ("transport/link/tx/lease", "2000"),
    ("transport/link/tx/keep_alive", "4"),
    // Default: 1 GiB, for whoever asks for it. MAX_MESSAGE_BYTES, and room for the packet around it.
    ("transport/link/rx/max_message_size", "67174400"),
];

/// How nodes find each other, unless the user brings a configuration.
const SCOUTING: &[(&str, &str)] = &[("scouting/multicast/enabled", "false"), ("scouting/gossip/enabled", "true")];

/// A full link blocks the thread that sends to its node for at most a quarter of the lease, in microseconds. Only where closing a
/// link does not linger: else giving up links sooner makes things worse.
const WAIT_BEFORE_CLOSE: (&str, &str) =
    ("transport/link/tx/queue/congestion_control/block/wait_before_close", "500000");

/// What zenoh listens on when nobody said anything: this machine only, at any port.
pub(crate) const DEFAULT_LISTEN: &str = "tcp/127.0.0.1:0";

/// The base of the configuration, and the endpoints that the user's own names.
pub(super) struct Base {
    config: Config,
    /// What to listen on.
    pub(super) listen: Vec<String>,
    /// What to connect to.
    pub(super) connect: Vec<String>,
}

/// Takes the user's configuration, or zenoh's default one, as the base. Endpoints to listen on that are given beside it
/// replace the ones in it, those to connect to are added.
pub(super) fn base(user: Option<Config>, listen: Vec<String>, connect: Vec<String>) -> Result<Base, TransportError> {
    let fresh = Config::default();
    let settings = SETTINGS.iter().chain(if user.is_none() { SCOUTING } else { &[] });
    let mut config = user.unwrap_or_default();
    let is_unset = |config: &Config, key: &str| config.get_json(key).ok() == fresh.get_json(key).ok();
    for (key, value) in settings.chain(linger_cured().then_some(&WAIT_BEFORE_CLOSE)) {
        if is_unset(&config, key) {
            insert(&mut config, key, value)?;
        }
    }
    let listen = match listen {
        given if !given.is_empty() => given,
        // zenoh's own default is every interface.
        _ if is_unset(&config, "listen/endpoints")
            && config.get_json("mode").is_ok_and(|mode| mode != r#""client""#) =>
        {
            vec![DEFAULT_LISTEN.into()]
        }
        _ => endpoints(&config, "listen/endpoints"),
    };
    let connect = endpoints(&config, "connect/endpoints").into_iter().chain(connect).collect();
    Ok(Base { config, listen, connect })
}

impl Base {
    /// The configuration, with these endpoints.
    pub(super) fn finish(mut self, listen: &[String], connect: &[String]) -> Result<Config, TransportError> {
        for (key, endpoints) in [("listen/endpoints", listen), ("connect/endpoints", connect)] {
            // The endpoints were parsed and hold no characters that would need escaping.
            let list: Vec<String> = endpoints.iter().map(|endpoint| format!("\"{endpoint}\"")).collect();
            insert(&mut self.config, key, &format!("[{}]", list.join(", ")))?;
        }
        Ok(self.config)
    }
}

fn insert(config: &mut Config, key: &str, value: &str) -> Result<(), TransportError> {
    config.insert_json5(key, value).map_err(|error| TransportError::BadConfig { why: format!("{key}: {error}") })
}

/// The endpoints in a configuration that count in its mode: a list, or a list for each mode.
fn endpoints(config: &Config, key: &str) -> Vec<String> {
    let json = config.get_json(key).unwrap_or_default();
    let mut list = json.as_str();
    if json.starts_with('{') {
        let mode = config.get_json("mode").unwrap_or_default();
        list = json.split_once(&format!("{mode}:")).map_or("", |(_, rest)| rest);
        for other in [r#""router":"#, r#""peer":"#, r#""client":"#] {
            list = list.split(other).next().unwrap_or(list);
        }
    }
    // Every second piece between quotes is a string; only endpoints have a slash.
    list.split('"').skip(1).step_by(2).filter(|text| text.contains('/')).map(String::from).collect()
}

/// Whether zenoh was built so that closing a link does not block a network thread for ten seconds.
fn linger_cured() -> bool {
    option_env!("TCP_LINGER_TIMEOUT") == Some("0")
}

/// Says once per process what would make it freeze, if anything.
pub(super) fn warn_of_linger() {
    static ONCE: Once = Once::new();
    if !linger_cured() && std::env::var_os("ZENOH_RUNTIME").is_none() {
        ONCE.call_once(|| {
            tracing::warn!(
                "closing a broken link can freeze the healthy ones for ten seconds: build with TCP_LINGER_TIMEOUT = \"0\" \
                 under [env] in .cargo/config.toml, or run with ZENOH_RUNTIME='(rx:(worker_threads:16))'"
            );
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).into()).collect()
    }

    #[test]
    fn without_a_configuration_a_node_keeps_to_itself() {
        let base = base(None, Vec::new(), Vec::new()).expect("our own settings are valid");
        assert_eq!(base.listen, [DEFAULT_LISTEN]);
        let config = base.finish(&strings(&["tcp/127.0.0.1:1234"]), &strings(&["tcp/[::1]:1"])).expect("valid");
        let get = |key| config.get_json(key).expect("a key of zenoh's");
        assert_eq!(get("mode"), r#""peer""#);
        assert_eq!(get("scouting/multicast/enabled"), "false");
        assert_eq!(get("listen/endpoints"), r#"["tcp/127.0.0.1:1234"]"#);
        assert_eq!(get("connect/endpoints"), r#"["tcp/[::1]:1"]"#);
        assert_eq!(get("transport/link/tx/lease"), "2000");
    }

    #[test]
    fn what_the_user_set_stays() {
        let user = r#"{
            mode: "peer", scouting: {multicast: {enabled: true}}, transport: {link: {tx: {lease: 5000}}},
            listen: {endpoints: {router: ["tcp/[::]:1"], peer: ["tcp/[::1]:2", "tcp/localhost:3"]}},
            connect: {endpoints: ["tcp/[::1]:4"]},
        }"#;
        let user = Config::from_json5(user).expect("valid");
        let base = base(Some(user), Vec::new(), strings(&["tcp/a:5"])).expect("valid");
        assert_eq!(base.listen, ["tcp/[::1]:2", "tcp/localhost:3"]);
        assert_eq!(base.connect, ["tcp/[::1]:4", "tcp/a:5"]);
        let config = base.finish(&[], &[]).expect("valid");
        let get = |key| config.get_json(key).expect("a key of zenoh's");
        assert_eq!(get("scouting/multicast/enabled"), "true");
        assert_eq!(get("transport/link/tx/lease"), "5000");
        assert_eq!(get("transport/link/tx/keep_alive"), "4");
        assert_eq!(get("open/return_conditions/connect_scouted"), "false");
    }

    #[test]
    fn a_configuration_without_listeners_does_not_open_every_interface() {
        let listen = |user| base(Some(user), Vec::new(), Vec::new()).expect("valid").listen;
        assert_eq!(listen(Config::default()), [DEFAULT_LISTEN]);
        assert!(listen(Config::from_json5(r#"{mode: "client"}"#).expect("valid")).is_empty());
        let given = base(Some(Config::default()), strings(&["tcp/0.0.0.0:7447"]), Vec::new()).expect("valid").listen;
        assert_eq!(given, ["tcp/0.0.0.0:7447"]);
    }
}
