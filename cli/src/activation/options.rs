//! The options of the original package registry, and what they are in a PackageRegistry. Pure.

mod volume;

use serde_json::{Map, Value, json};
use snafu::Snafu;

use super::schema::{has_field, unknown_field};
use crate::connection::DEFAULT_NAME;

/// Longest name of a registry or service.
const LONGEST_NAME: usize = 40;

/// Why options can't be used.
#[derive(Debug, Eq, PartialEq, Snafu)]
pub enum OptionsError {
    /// No JSON.
    #[snafu(display("line {line}, column {column}: {reason}"))]
    Syntax {
        /// Where.
        line: usize,
        /// Where in it.
        column: usize,
        /// What is wrong.
        reason: String,
    },
    /// An option that can't be used.
    #[snafu(display("{option}: {problem}"))]
    Option {
        /// Its path: `service.name`.
        option: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

/// What the options come to.
#[derive(Debug, PartialEq)]
pub struct Plan {
    /// The PackageRegistry.
    pub object: Value,
    /// What the one who wrote the options should know or do.
    pub notes: Vec<String>,
}

/// Maps options onto a PackageRegistry. `name` is the object's where the options' service name shall not be.
pub fn plan(options: Option<&str>, name: Option<&str>, namespace: Option<&str>) -> Result<Plan, OptionsError> {
    let options = options.map_or_else(|| Ok(json!({})), parse)?;
    let options = object(&options, "$")?;
    check_names(options)?;
    let mut mapping = Mapping { spec: json!({}), notes: Vec::new(), service: None };
    mapping.service(options)?;
    mapping.registry(options)?;
    mapping.given(options)?;
    let Mapping { mut spec, notes, service } = mapping;
    let object_name = name.map(|name| host_name("--name", name)).transpose()?;
    let chosen = object_name.clone().or_else(|| service.clone()).unwrap_or_else(|| DEFAULT_NAME.to_owned());
    if let Some(service) = service.filter(|service| *service != chosen) {
        put(&mut spec, "service.name", service.into(), "service.name")?;
    }
    let mut metadata = Map::from_iter([("name".to_owned(), Value::from(chosen))]);
    metadata.extend(namespace.map(|namespace| ("namespace".to_owned(), namespace.into())));
    let object = json!({
        "apiVersion": "registry.dcos.io/v1alpha1", "kind": "PackageRegistry", "metadata": metadata, "spec": spec,
    });
    Ok(Plan { object, notes })
}

fn parse(text: &str) -> Result<Value, OptionsError> {
    serde_json::from_str(text).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.split(" at line").next().unwrap_or_default().to_owned();
        OptionsError::Syntax { line: error.line(), column: error.column(), reason }
    })
}

/// Where the parts belong: mistakes of published examples get the right form.
fn check_names(options: &Map<String, Value>) -> Result<(), OptionsError> {
    if options.get("registry").and_then(|registry| registry.get("service")).is_some() {
        let right = r#"it belongs beside "registry", not into it: {"service": {"name": "…"}, "registry": {…}}"#;
        return wrong("registry.service", right);
    }
    if options.get("service").and_then(|service| service.get("registry")).is_some() {
        let right = r#"it belongs beside "service", not into it: {"service": {…}, "registry": {…}}"#;
        return wrong("service.registry", right);
    }
    let known = ["service", "registry", "spec"];
    match options.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => wrong(key, "there is no such option; there are service, registry and spec"),
        None => Ok(()),
    }
}

struct Mapping {
    spec: Value,
    notes: Vec<String>,
    service: Option<String>,
}

impl Mapping {
    fn service(&mut self, options: &Map<String, Value>) -> Result<(), OptionsError> {
        let Some(service) = part(options, "service", "", &["name", "instances", "cpus", "mem", "disk"])? else {
            return Ok(());
        };
        if let Some(name) = text(service, "service", "name")? {
            self.service = Some(host_name("service.name", &name)?);
        }
        if let Some(instances) = number(service, "service", "instances")? {
            if instances.fract() != 0.0 || instances > 64.0 {
                return wrong("service.instances", "must be a whole number from 1 to 64");
            }
            let several = instances > 1.0;
            let shared = options.get("registry").is_some_and(|registry| registry.get("s3").is_some())
                || options.get("spec").is_some_and(|spec| spec.pointer("/storage/s3").is_some());
            if several && !shared {
                return wrong("service.instances", "more than one needs registry.s3: other storage has one writer");
            }
            self.put("instances", whole(instances), "service.instances")?;
        }
        if let Some(cpus) = number(service, "service", "cpus")? {
            let milli = whole((cpus * 1000.0).ceil());
            for part in ["requests", "limits"] {
                self.put(&format!("resources.{part}.cpu"), format!("{milli}m").into(), "service.cpus")?;
            }
        }
        if let Some(mebibytes) = number(service, "service", "mem")? {
            for part in ["requests", "limits"] {
                let quantity = format!("{}Mi", whole(mebibytes.ceil()));
                self.put(&format!("resources.{part}.memory"), quantity.into(), "service.mem")?;
            }
        }
        if let Some(mebibytes) = number(service, "service", "disk")? {
            if let Some(kind) = ["s3", "mount-volume"].iter().find(|kind| is_used(options, kind)) {
                self.notes.push(format!("service.disk is not used: the content is kept in registry.{kind}"));
            } else {
                self.put("storage.local.size", format!("{}Mi", whole(mebibytes.ceil())).into(), "service.disk")?;
            }
        }
        Ok(())
    }

    fn registry(&mut self, options: &Map<String, Value>) -> Result<(), OptionsError> {
        let known = ["service-account-secret-path", "mount-volume", "s3"];
        let Some(registry) = part(options, "registry", "", &known)? else { return Ok(()) };
        if text(registry, "registry", "service-account-secret-path")?.is_some() {
            let note =
                "registry.service-account-secret-path is not needed: the operator makes the account and its rights";
            self.notes.push(note.to_owned());
        }
        let volume = part(registry, "mount-volume", "registry.", &["container-path", "pinned-hostname"])?;
        let keys = ["credential-secret-path", "credential-profile-name", "bucket", "path", "endpoint"];
        let s3 = part(registry, "s3", "registry.", &keys)?;
        match (volume, s3) {
            (Some(_), Some(_)) => wrong("registry", "has both mount-volume and s3, exactly one storage can be used"),
            (Some(volume), None) => self.volume(volume, options.get("spec")),
            (None, Some(s3)) => self.s3(s3),
            (None, None) => Ok(()),
        }
    }

    fn s3(&mut self, s3: &Map<String, Value>) -> Result<(), OptionsError> {
        const AT: &str = "registry.s3";
        if text(s3, AT, "bucket")?.is_none() {
            return wrong("registry.s3.bucket", "is missing, it names the bucket");
        }
        for (option, field) in [
            ("bucket", "storage.s3.bucket"),
            ("path", "storage.s3.path"),
            ("endpoint", "storage.s3.endpoint"),
            ("credential-profile-name", "storage.s3.profile"),
        ] {
            if let Some(value) = text(s3, AT, option)? {
                let value = if option == "path" { value.trim_matches('/').to_owned() } else { value };
                self.put(field, value.into(), &format!("{AT}.{option}"))?;
            }
        }
        if let Some(path) = text(s3, AT, "credential-secret-path")? {
            let name = secret_name(&path);
            self.put(
                "storage.s3.credentialsSecretRef.name",
                name.clone().into(),
                "registry.s3.credential-secret-path",
            )?;
            self.notes.push(format!(
                "registry.s3.credential-secret-path: make a Secret {name} in the registry's namespace with the credentials file: kubectl create secret generic {name} --from-file=credentials=FILE"
            ));
        }
        Ok(())
    }

    /// What is written as in a PackageRegistry.
    fn given(&mut self, options: &Map<String, Value>) -> Result<(), OptionsError> {
        let Some(given) = options.get("spec") else { return Ok(()) };
        object(given, "spec")?;
        if let Some(path) = unknown_field(given) {
            return wrong(&path, "a PackageRegistry has no such field");
        }
        merge(&mut self.spec, given, "spec")
    }

    fn put(&mut self, field: &str, value: Value, option: &str) -> Result<(), OptionsError> {
        put(&mut self.spec, field, value, option)
    }
}

/// Sets a field, if a PackageRegistry has it.
fn put(spec: &mut Value, field: &str, value: Value, option: &str) -> Result<(), OptionsError> {
    if !has_field(field) {
        let problem = format!("would be spec.{field}, which a PackageRegistry of this version does not have yet");
        return wrong(option, &problem);
    }
    let mut nested = value;
    for key in field.rsplit('.') {
        nested = Value::Object(Map::from_iter([(key.to_owned(), nested)]));
    }
    merge(spec, &nested, "spec")
}

fn merge(into: &mut Value, from: &Value, path: &str) -> Result<(), OptionsError> {
    match (into, from) {
        (into @ Value::Null, from) => *into = from.clone(),
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                let entry = into.entry(key.clone()).or_insert(Value::Null);
                merge(entry, value, &format!("{path}.{key}"))?;
            }
        }
        (into, from) if *into == *from => {}
        (into, from) => return wrong(path, &format!("is {from} here, and {into} by another option")),
    }
    Ok(())
}

/// A part of the options with no other keys than these.
fn part<'a>(
    options: &'a Map<String, Value>,
    key: &str,
    before: &str,
    known: &[&str],
) -> Result<Option<&'a Map<String, Value>>, OptionsError> {
    let Some(value) = options.get(key) else { return Ok(None) };
    let path = format!("{before}{key}");
    let part = object(value, &path)?;
    match part.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => {
            wrong(&format!("{path}.{key}"), &format!("there is no such option; there are {}", known.join(", ")))
        }
        None => Ok(Some(part)),
    }
}

fn object<'a>(value: &'a Value, path: &str) -> Result<&'a Map<String, Value>, OptionsError> {
    value.as_object().map_or_else(|| wrong(path, "must be an object"), Ok)
}

fn text(part: &Map<String, Value>, path: &str, key: &str) -> Result<Option<String>, OptionsError> {
    match part.get(key) {
        None => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => wrong(&format!("{path}.{key}"), &format!("is {other}, must be a string")),
    }
}

fn number(part: &Map<String, Value>, path: &str, key: &str) -> Result<Option<f64>, OptionsError> {
    match part.get(key) {
        None => Ok(None),
        Some(value) => match value.as_f64().filter(|number| *number > 0.0 && *number < 1e12) {
            Some(number) => Ok(Some(number)),
            None => wrong(&format!("{path}.{key}"), &format!("is {value}, must be a number above 0")),
        },
    }
}

/// Whether a storage of the original's is filled in: what it lists as empty isn't used.
fn is_used(options: &Map<String, Value>, storage: &str) -> bool {
    let part = options.get("registry").and_then(|registry| registry.get(storage)).and_then(Value::as_object);
    part.is_some_and(|part| part.values().any(|value| value != ""))
}

/// A whole number without a decimal point.
#[expect(clippy::cast_possible_truncation, reason = "checked: above 0 and below 1e15, and without a fraction")]
fn whole(number: f64) -> Value {
    Value::from(number as i64)
}

/// The service id of old without its slashes, as its host name had it.
fn host_name(option: &str, id: &str) -> Result<String, OptionsError> {
    let name = id.replace('/', "");
    let right = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    if begins && !name.ends_with('-') && name.chars().all(right) && name.len() <= LONGEST_NAME {
        return Ok(name);
    }
    let rule = format!("begin with a-z, hold only a-z, 0-9 and '-', and have at most {LONGEST_NAME} characters");
    wrong(option, &format!("\"{id}\" gives the name \"{name}\"; it must {rule}"))
}

/// The path of a secret as a name that Kubernetes takes.
fn secret_name(path: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
    path.trim_matches('/').chars().map(plain).collect::<String>().trim_matches(['-', '.']).to_owned()
}

fn wrong<T>(option: &str, problem: &str) -> Result<T, OptionsError> {
    Err(OptionsError::Option { option: option.to_owned(), problem: problem.to_owned() })
}

#[cfg(test)]
mod tests;
