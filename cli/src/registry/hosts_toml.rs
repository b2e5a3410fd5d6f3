//! containerd's `hosts.toml`: where a registry host's images really come from. Pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use toml::Spanned;
use url::Url;

/// A place to ask for a host's images.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// Where the API is, with its path and a slash at the end: `https://registry-1.docker.io/v2/`.
    pub base: Url,
    /// Whether it may be asked for content by digest.
    pub pull: bool,
    /// Whether it may be asked what a tag stands for.
    pub resolve: bool,
    /// How its certificate is checked.
    pub tls: Tls,
    /// Sent with every request to it.
    pub headers: HeaderMap,
    /// The host whose images are asked for, where it is another than the endpoint's own.
    pub namespace: Option<String>,
}

/// How an endpoint's certificate is checked, and what is shown to it.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Tls {
    /// PEM files with certificates that are trusted beside the system's.
    pub ca: Vec<PathBuf>,
    /// PEM files of the client: certificate, and its key where that is a file of its own.
    pub client: Option<(PathBuf, Option<PathBuf>)>,
    /// The certificate is not checked.
    pub skip_verify: bool,
}

/// What the file says of one host. Fields that only concern other programs are left alone.
#[derive(Debug, Default, Deserialize)]
struct Host {
    capabilities: Option<Vec<String>>,
    ca: Option<OneOrMore<PathBuf>>,
    client: Option<OneOrMore<OneOrMore<PathBuf>>>,
    #[serde(default)]
    skip_verify: bool,
    #[serde(default)]
    override_path: bool,
    #[serde(default)]
    header: BTreeMap<String, OneOrMore<String>>,
}

#[derive(Debug, Default, Deserialize)]
struct File {
    server: Option<String>,
    #[serde(default)]
    host: BTreeMap<String, Spanned<Host>>,
    #[serde(flatten)]
    own: Host,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

impl<T> OneOrMore<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::More(more) => more,
        }
    }
}

/// The endpoints of `host` by the text of its `hosts.toml`, in the order in which they are asked: the `host` entries as they
/// are written, then the server. Relative paths start from `directory`.
///
/// # Errors
/// What is wrong, and where.
pub fn parse(text: &str, host: &str, directory: &Path) -> Result<Vec<Endpoint>, String> {
    let File { server, host: hosts, own } = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut hosts: Vec<_> = hosts.into_iter().collect();
    hosts.sort_by_key(|(_, entry)| entry.span().start);
    let mut endpoints = Vec::new();
    for (address, entry) in hosts {
        let place = format!("host.\"{address}\"");
        endpoints.push(
            endpoint(&address, entry.into_inner(), host, directory).map_err(|error| format!("{place}: {error}"))?,
        );
    }
    let server = server.map_or_else(|| default_base(host), Ok);
    let server = server.map_err(|error| format!("server: {error}"))?;
    endpoints.push(endpoint(&server, own, host, directory).map_err(|error| format!("server: {error}"))?);
    Ok(endpoints)
}

/// The endpoint of a host that nothing is said about but its certificates; where there are some, it is asked by TLS.
///
/// # Errors
/// A host that makes no URL.
pub fn by_default(host: &str, tls: Tls) -> Result<Endpoint, String> {
    let base = default_base(host)?;
    let base = if tls == Tls::default() { base } else { base.replacen("http://", "https://", 1) };
    Ok(Endpoint { tls, ..endpoint(&base, Host::default(), host, Path::new(""))? })
}

/// Plain HTTP on this machine itself, where nobody else listens; TLS everywhere else.
fn default_base(host: &str) -> Result<String, String> {
    let server = if host == DOCKER { DOCKER_SERVER } else { host };
    let url = Url::parse(&format!("https://{server}")).map_err(|error| format!("\"{host}\": {error}"))?;
    let scheme = if is_loopback(&url) { "http" } else { "https" };
    Ok(format!("{scheme}://{server}"))
}

const DOCKER: &str = "docker.io";
const DOCKER_SERVER: &str = "registry-1.docker.io";

/// Whether a URL leads to this machine itself.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn endpoint(address: &str, said: Host, host: &str, directory: &Path) -> Result<Endpoint, String> {
    let with_scheme = if address.contains("://") { address.to_owned() } else { format!("https://{address}") };
    let mut base = Url::parse(&with_scheme).map_err(|error| format!("\"{address}\" is not a URL: {error}"))?;
    if !matches!(base.scheme(), "http" | "https") {
        return Err(format!("\"{address}\" must begin with https:// or http://"));
    }
    if base.query().is_some() || base.fragment().is_some() || !base.username().is_empty() || base.password().is_some() {
        return Err("the URL must have no user, password, query or fragment".to_owned());
    }
    let path = base.path().trim_end_matches('/');
    let path = if said.override_path || path.ends_with("/v2") { format!("{path}/") } else { format!("{path}/v2/") };
    base.set_path(&path);
    let capabilities = said.capabilities.unwrap_or_else(|| vec!["pull".to_owned(), "resolve".to_owned()]);
    if let Some(unknown) = capabilities.iter().find(|word| !["pull", "resolve", "push"].contains(&word.as_str())) {
        return Err(format!("capabilities: \"{unknown}\" is none, there are pull, resolve and push"));
    }
    let can = |word: &str| capabilities.iter().any(|capability| capability == word);
    let asked = base.host_str().unwrap_or_default();
    let asked = base.port().map_or_else(|| asked.to_owned(), |port| format!("{asked}:{port}"));
    let own = asked == host || (host == DOCKER && asked == DOCKER_SERVER);
    Ok(Endpoint {
        pull: can("pull"),
        resolve: can("resolve"),
        tls: Tls {
            ca: said.ca.map(OneOrMore::into_vec).unwrap_or_default().iter().map(|path| directory.join(path)).collect(),
            client: client(said.client, directory)?,
            skip_verify: said.skip_verify,
        },
        headers: headers(said.header)?,
        namespace: (!own).then(|| host.to_owned()),
        base,
    })
}

/// `client = "both.pem"` or `client = [["cert.pem", "key.pem"]]`.
fn client(
    said: Option<OneOrMore<OneOrMore<PathBuf>>>,
    directory: &Path,
) -> Result<Option<(PathBuf, Option<PathBuf>)>, String> {
    let pairs: Vec<Vec<PathBuf>> = said.into_iter().flat_map(OneOrMore::into_vec).map(OneOrMore::into_vec).collect();
    match pairs.as_slice() {
        [] => Ok(None),
        [pair] => match pair.as_slice() {
            [both] => Ok(Some((directory.join(both), None))),
            [certificate, key] => {
                let key = (!key.as_os_str().is_empty()).then(|| directory.join(key));
                Ok(Some((directory.join(certificate), key)))
            }
            _ => Err("client: must be a file, or a pair of certificate and key".to_owned()),
        },
        _ => Err("client: several client certificates for one host are not possible here, name one".to_owned()),
    }
}

fn headers(said: BTreeMap<String, OneOrMore<String>>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, values) in said {
        let key = HeaderName::try_from(&name).map_err(|_| format!("header: \"{name}\" is not a header's name"))?;
        for value in values.into_vec() {
            // The value may be a secret: it is not shown.
            let mut value = HeaderValue::try_from(value)
                .map_err(|_| format!("header.{name}: the value is not one line of text"))?;
            value.set_sensitive(true);
            headers.append(key.clone(), value);
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<Endpoint> {
        parse(text, "docker.io", Path::new("/hosts/docker.io")).unwrap()
    }

    fn bases(text: &str) -> Vec<String> {
        parsed(text).into_iter().map(|endpoint| endpoint.base.to_string()).collect()
    }

    #[test]
    fn hosts_are_asked_in_their_order_and_the_server_last() {
        let text = r#"
server = "https://registry-1.docker.io"
[host."https://z.example.test:5000"]
  capabilities = ["pull"]
[host."http://a.example.test"]
  [host."http://a.example.test".header]
    x-one = "1"
    x-two = ["2", "3"]
[host."m.example.test/mirror"]
"#;
        let expected = [
            "https://z.example.test:5000/v2/",
            "http://a.example.test/v2/",
            "https://m.example.test/mirror/v2/",
            "https://registry-1.docker.io/v2/",
        ];
        assert_eq!(bases(text), expected);
        let all = parsed(text);
        assert_eq!((all[0].pull, all[0].resolve, all[1].resolve), (true, false, true));
        assert_eq!(all[1].headers.get_all("x-two").iter().count(), 2);
        assert_eq!(all[0].namespace.as_deref(), Some("docker.io"));
        assert_eq!(all[3].namespace, None, "it is docker.io's own server");
    }

    #[test]
    fn the_path_is_kept_where_it_is_said_to_be_whole() {
        let text = r#"
server = "https://e.test/v2"
[host."https://m.test/a/v2/x"]
  override_path = true
"#;
        assert_eq!(bases(text), ["https://m.test/a/v2/x/", "https://e.test/v2/"]);
    }

    #[test]
    fn certificates_are_found_from_the_folder() {
        let text = r#"
server = "https://e.test"
ca = "/etc/ca.crt"
[host."https://m.test"]
  ca = ["one.crt", "two.crt"]
  client = [["c.crt", "c.key"]]
  skip_verify = true
  dial_timeout = "5s"
[host."https://n.test"]
  client = "both.pem"
"#;
        let all = parsed(text);
        let path = |name: &str| Path::new("/hosts/docker.io").join(name);
        let pair = Some((path("c.crt"), Some(path("c.key"))));
        assert_eq!(all[0].tls, Tls { ca: vec![path("one.crt"), path("two.crt")], client: pair, skip_verify: true });
        assert_eq!(all[1].tls.client, Some((path("both.pem"), None)));
        assert_eq!(all[2].tls.ca, [Path::new("/etc/ca.crt")]);
    }

    #[test]
    fn without_a_server_the_hosts_own_is_asked_in_the_end() {
        assert_eq!(bases("[host.\"https://m.test\"]"), ["https://m.test/v2/", "https://registry-1.docker.io/v2/"]);
        assert_eq!(bases(""), ["https://registry-1.docker.io/v2/"]);
    }

    #[test]
    fn only_this_machine_is_asked_without_tls() {
        for (host, base) in [
            ("docker.io", "https://registry-1.docker.io/v2/"),
            ("quay.io", "https://quay.io/v2/"),
            ("localhost:5000", "http://localhost:5000/v2/"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000/v2/"),
            ("localhost.e.test", "https://localhost.e.test/v2/"),
            ("10.0.0.1:5000", "https://10.0.0.1:5000/v2/"),
        ] {
            assert_eq!(by_default(host, Tls::default()).unwrap().base.as_str(), base);
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_secrets_are_not_shown() {
        for (text, word) in [
            ("server = 1", "server"),
            ("server = \"ftp://e.test\"", "https://"),
            ("[host.\"https://user:secret@e.test\"]", "user, password"),
            ("[host.\"https://e.test\"]\ncapabilities = [\"fly\"]", "fly"),
            ("[host.\"https://e.test\"]\nclient = [[\"a\",\"b\"],[\"c\",\"d\"]]", "several"),
            ("[host.\"https://e.test\".header]\nx = \"secret\\n\"", "header.x"),
        ] {
            let error = parse(text, "e.test", Path::new("")).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        let error = parse("[host.\"https://e.test\".header]\nx = \"hidden\\n\"", "e.test", Path::new("")).unwrap_err();
        assert!(!error.contains("hidden"), "{error}");
    }
}
