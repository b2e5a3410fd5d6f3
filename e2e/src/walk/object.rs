//! Objects of the cluster as JSON, through kubectl.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use snafu::{OptionExt as _, ResultExt as _, Whatever, whatever};

use crate::cluster::Cluster;

/// What kind of object, as kubectl names it.
pub type Kind<'a> = &'a str;

/// An object as the API server has it.
#[derive(Clone, Debug)]
pub struct Object(pub Value);

impl Object {
    /// The value at a JSON pointer (`/status/url`), as text; empty where there is none.
    #[must_use]
    pub fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// Status, reason and message of a condition; `None` where it is absent.
    #[must_use]
    pub fn condition(&self, kind: &str) -> Option<(&str, &str, &str)> {
        let all = self.0.pointer("/status/conditions")?.as_array()?;
        let one = all.iter().find(|c| c["type"] == kind)?;
        Some((one["status"].as_str()?, text(&one["reason"]), text(&one["message"])))
    }

    /// Whether a condition has that status for the present generation of the spec.
    #[must_use]
    pub fn has(&self, kind: &str, status: &str) -> bool {
        let observed = self.0.pointer("/status/observedGeneration").and_then(Value::as_i64);
        let generation = self.0.pointer("/metadata/generation").and_then(Value::as_i64);
        let current = observed.is_none() || observed >= generation;
        current && self.condition(kind).is_some_and(|(found, _, _)| found == status)
    }

    /// The object's uid.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.text("/metadata/uid")
    }

    /// The conditions in a line, for messages.
    #[must_use]
    pub fn summary(&self) -> String {
        let all = self.0.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        let lines = all.iter().map(|c| {
            format!("{}={} {}: {}", text(&c["type"]), text(&c["status"]), text(&c["reason"]), text(&c["message"]))
        });
        lines.collect::<Vec<_>>().join("; ")
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// `kubectl apply -f -`, with server-side validation.
///
/// # Errors
/// What kubectl says, an invalid object's message among it.
pub fn apply(cluster: &Cluster, yaml: &str) -> Result<(), Whatever> {
    let mut command = cluster.kubectl_command();
    command.args(["apply", "-f", "-"]);
    feed(&mut command, yaml.as_bytes()).map(|_| ())
}

/// Runs a command with something on its standard input; its output comes back.
pub(super) fn feed(command: &mut Command, input: &[u8]) -> Result<String, Whatever> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .whatever_context("cannot start kubectl")?;
    let mut stdin = child.stdin.take().whatever_context("kubectl has no standard input")?;
    stdin.write_all(input).whatever_context("cannot write to kubectl")?;
    drop(stdin);
    let output = child.wait_with_output().whatever_context("kubectl did not end")?;
    if !output.status.success() {
        whatever!("kubectl: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `kubectl get`: the object, or `None` where there is none.
///
/// # Errors
/// When the API server can't be asked.
pub fn get(cluster: &Cluster, kind: Kind<'_>, namespace: &str, name: &str) -> Result<Option<Object>, Whatever> {
    let text = cluster
        .kubectl(&["get", kind, "-n", namespace, name, "-o", "json", "--ignore-not-found"])
        .whatever_context(format!("get {kind} {namespace}/{name}"))?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    Ok(Some(Object(serde_json::from_str(&text).whatever_context("kubectl's answer is no JSON")?)))
}

/// Every object of a kind in a namespace (`-A`-wide where the namespace is empty), with an optional label selector.
///
/// # Errors
/// When the API server can't be asked.
pub fn get_all(cluster: &Cluster, kind: Kind<'_>, namespace: &str, selector: &str) -> Result<Vec<Object>, Whatever> {
    let mut arguments = vec!["get", kind, "-o", "json", "-l", selector];
    if namespace.is_empty() {
        arguments.push("-A");
    } else {
        arguments.extend(["-n", namespace]);
    }
    let text = cluster.kubectl(&arguments).whatever_context(format!("get {kind} in {namespace}"))?;
    let list: Value = serde_json::from_str(&text).whatever_context("kubectl's answer is no JSON")?;
    Ok(list["items"].as_array().cloned().unwrap_or_default().into_iter().map(Object).collect())
}

/// Whether the object is there.
///
/// # Errors
/// When the API server can't be asked.
pub fn exists(cluster: &Cluster, kind: Kind<'_>, namespace: &str, name: &str) -> Result<bool, Whatever> {
    Ok(get(cluster, kind, namespace, name)?.is_some())
}

/// Asks for the deletion of an object and doesn't wait for it.
///
/// # Errors
/// What kubectl says.
pub fn delete(cluster: &Cluster, kind: Kind<'_>, namespace: &str, name: &str) -> Result<(), Whatever> {
    cluster
        .kubectl(&["delete", kind, "-n", namespace, name, "--wait=false", "--ignore-not-found"])
        .whatever_context(format!("delete {kind} {namespace}/{name}"))?;
    Ok(())
}

/// The same for a kind that the cluster may not know yet.
///
/// # Errors
/// What kubectl says.
pub fn delete_if_known(cluster: &Cluster, kind: Kind<'_>, namespace: &str, name: &str) -> Result<(), Whatever> {
    let known = cluster.kubectl(&["api-resources", "--api-group=registry.dcos.io", "-o", "name"]);
    if known.whatever_context("the API server doesn't say what it serves")?.is_empty() {
        return Ok(());
    }
    delete(cluster, kind, namespace, name)
}

/// Waits until the object has a condition with that status.
///
/// # Errors
/// After the time is over, with the conditions that it has instead.
pub fn wait_for(
    cluster: &Cluster,
    (kind, namespace, name): (Kind<'_>, &str, &str),
    (condition, status): (&str, &str),
    within: Duration,
) -> Result<Object, Whatever> {
    let mut last = String::from("absent");
    let found = wait_until(&format!("{condition}={status} of {kind} {namespace}/{name}"), within, || {
        let object = get(cluster, kind, namespace, name)?;
        last = object.as_ref().map_or_else(|| "absent".to_owned(), Object::summary);
        Ok(object.filter(|object| object.has(condition, status)))
    });
    found.whatever_context(format!("{kind} {namespace}/{name} has: {last}"))
}

/// Waits until the object has a condition with that reason.
///
/// # Errors
/// After the time is over, with the conditions that it has instead.
pub fn wait_for_reason(
    cluster: &Cluster,
    (kind, namespace, name): (Kind<'_>, &str, &str),
    (condition, reason): (&str, &str),
    within: Duration,
) -> Result<Object, Whatever> {
    let mut last = String::from("absent");
    let found = wait_until(&format!("{condition} with reason {reason} of {kind} {namespace}/{name}"), within, || {
        let object = get(cluster, kind, namespace, name)?;
        last = object.as_ref().map_or_else(|| "absent".to_owned(), Object::summary);
        Ok(object.filter(|object| object.condition(condition).is_some_and(|(_, found, _)| found == reason)))
    });
    found.whatever_context(format!("{kind} {namespace}/{name} has: {last}"))
}

/// Waits until the object is gone.
///
/// # Errors
/// After the time is over.
pub fn wait_gone(
    cluster: &Cluster,
    kind: Kind<'_>,
    namespace: &str,
    name: &str,
    within: Duration,
) -> Result<(), Whatever> {
    wait_until(&format!("{kind} {namespace}/{name} to be gone"), within, || {
        Ok((!exists(cluster, kind, namespace, name)?).then_some(()))
    })
}

/// Asks every 200 ms until there is an answer.
///
/// # Errors
/// After the time is over, or what the question's own failure was, if the last time it failed.
pub fn wait_until<T>(
    what: &str,
    within: Duration,
    mut ask: impl FnMut() -> Result<Option<T>, Whatever>,
) -> Result<T, Whatever> {
    let start = Instant::now();
    loop {
        let answer = ask();
        match answer {
            Ok(Some(found)) => return Ok(found),
            Err(error) if start.elapsed() > within => return Err(error),
            Ok(None) if start.elapsed() > within => {
                whatever!("waited {} s in vain for {what}", within.as_secs())
            }
            _ => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

/// The Events about an object: reason and note.
///
/// # Errors
/// When the API server can't be asked.
pub fn events(cluster: &Cluster, namespace: &str, name: &str) -> Result<Vec<(String, String)>, Whatever> {
    let all = get_all(cluster, "events.v1.events.k8s.io", namespace, "")?;
    let about = all.into_iter().filter(|event| event.text("/regarding/name") == name);
    Ok(about.map(|event| (event.text("/reason").to_owned(), event.text("/note").to_owned())).collect())
}
