//! Reads workloads: pods that run, and templates of which pods may come at any time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    batch::v1::{CronJob, Job},
    core::v1::{Pod, PodSpec},
};
use kube::{Api, Client, Resource, ResourceExt, api::ListParams};
use oci_spec::distribution::Reference;
use serde::de::DeserializeOwned;

/// Objects that one answer brings, at most.
const PAGE: u32 = 500;

/// Something that runs images, or may at any time.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Workload {
    /// Its kind.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Images, as its containers and its runtime name them. What can't be a name is left out.
    pub images: Vec<Reference>,
}

/// All workloads at one time.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The workloads.
    pub workloads: Vec<Workload>,
}

/// The latest surveys. Reading every pod of a cluster is dear, so those who ask share the answer.
#[derive(Debug, Default)]
pub struct Workloads {
    running: Latest,
    everything: Latest,
}

/// One survey, and when it was begun.
#[derive(Debug, Default)]
struct Latest {
    survey: Mutex<Option<(Instant, Arc<Survey>)>>,
    /// Held by the one who asks.
    asking: tokio::sync::Mutex<()>,
}

impl Latest {
    fn younger_than(&self, age: Duration) -> Option<Arc<Survey>> {
        let latest = self.survey.lock().unwrap_or_else(PoisonError::into_inner);
        latest.as_ref().filter(|(begun, _)| begun.elapsed() < age).map(|(_, survey)| Arc::clone(survey))
    }

    async fn get<F>(&self, age: Duration, ask: impl FnOnce() -> F) -> Result<Arc<Survey>, kube::Error>
    where
        F: Future<Output = Result<Survey, kube::Error>>,
    {
        if let Some(survey) = self.younger_than(age) {
            return Ok(survey);
        }
        let _one = self.asking.lock().await;
        // Somebody else may have asked meanwhile.
        if let Some(survey) = self.younger_than(age) {
            return Ok(survey);
        }
        let begun = Instant::now();
        let survey = Arc::new(ask().await?);
        *self.survey.lock().unwrap_or_else(PoisonError::into_inner) = Some((begun, Arc::clone(&survey)));
        Ok(survey)
    }
}

impl Workloads {
    /// The pods that haven't ended, as they were at most `age` ago.
    ///
    /// # Errors
    /// When the API server can't be asked, or doesn't let the operator.
    pub async fn running(&self, client: &Client, age: Duration) -> Result<Arc<Survey>, kube::Error> {
        self.running.get(age, || running(client)).await
    }

    /// The same, with what is scaled to zero, suspended or waits for its time.
    ///
    /// # Errors
    /// As [`Self::running`].
    pub async fn everything(&self, client: &Client, age: Duration) -> Result<Arc<Survey>, kube::Error> {
        self.everything.get(age, || everything(client)).await
    }
}

async fn running(client: &Client) -> Result<Survey, kube::Error> {
    let mut workloads = Vec::new();
    each(client, |pod: Pod| workloads.extend(of_pod(&pod))).await?;
    Ok(Survey { workloads })
}

async fn everything(client: &Client) -> Result<Survey, kube::Error> {
    let Survey { mut workloads } = running(client).await?;
    each(client, |object: Deployment| workloads.extend(of_deployment(&object))).await?;
    each(client, |object: StatefulSet| workloads.extend(of_stateful_set(&object))).await?;
    each(client, |object: CronJob| workloads.extend(of_cron_job(&object))).await?;
    each(client, |object: Job| workloads.extend(of_job(&object))).await?;
    Ok(Survey { workloads })
}

async fn each<K>(client: &Client, mut take: impl FnMut(K)) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let api: Api<K> = Api::all(client.clone());
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = api.list(&params).await?;
        page.items.into_iter().for_each(&mut take);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(()),
        }
    }
}

fn workload<K: Resource<DynamicType = ()>>(object: &K, kind: &'static str, spec: Option<&PodSpec>) -> Workload {
    Workload {
        kind,
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        images: spec.map(images).unwrap_or_default(),
    }
}

fn images(spec: &PodSpec) -> Vec<Reference> {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let ephemeral = spec.ephemeral_containers.iter().flatten().filter_map(|container| container.image.as_deref());
    let names = containers.filter_map(|container| container.image.as_deref()).chain(ephemeral);
    names.filter_map(|name| name.parse().ok()).collect()
}

/// A pod that hasn't ended.
fn of_pod(pod: &Pod) -> Option<Workload> {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or_default();
    if matches!(phase, "Succeeded" | "Failed") {
        return None;
    }
    let mut found = workload(pod, "Pod", pod.spec.as_ref());
    if let Some(status) = status {
        let all = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
        // What runs may be another image than the tag of the spec names by now: `…@sha256:<hex>`.
        let running = all.into_iter().flatten().flatten().filter_map(|container| container.image_id.parse().ok());
        found.images.extend(running);
    }
    Some(found)
}

/// A Deployment that is scaled to zero; others have pods.
fn of_deployment(object: &Deployment) -> Option<Workload> {
    let spec = object.spec.as_ref()?;
    (spec.replicas == Some(0)).then(|| workload(object, "Deployment", spec.template.spec.as_ref()))
}

/// A `StatefulSet` that is scaled to zero.
fn of_stateful_set(object: &StatefulSet) -> Option<Workload> {
    let spec = object.spec.as_ref()?;
    (spec.replicas == Some(0)).then(|| workload(object, "StatefulSet", spec.template.spec.as_ref()))
}

/// A `CronJob`: its next pod comes by itself.
fn of_cron_job(object: &CronJob) -> Option<Workload> {
    let template = object.spec.as_ref()?.job_template.spec.as_ref()?;
    Some(workload(object, "CronJob", template.template.spec.as_ref()))
}

/// A Job that is suspended.
fn of_job(object: &Job) -> Option<Workload> {
    let spec = object.spec.as_ref()?;
    (spec.suspend == Some(true)).then(|| workload(object, "Job", spec.template.spec.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<K: DeserializeOwned>(yaml: &str) -> K {
        serde_saphyr::from_str(yaml).unwrap()
    }

    /// Images in full.
    fn names(workload: Option<Workload>) -> Vec<String> {
        workload.unwrap().images.iter().map(Reference::whole).collect()
    }

    const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const REDIS: [&str; 1] = ["docker.io/library/redis:5"];
    const CONTAINER: &str = "{containers: [{name: a, image: redis:5}]}";

    #[test]
    fn a_pod_is_taken_with_all_its_containers_and_what_they_run() {
        let pod: Pod = read(&format!(
            "{{metadata: {{name: web, namespace: apps}}, spec: {{containers: [{{name: a, image: redis:5}}], \
             initContainers: [{{name: i, image: busybox}}]}}, status: {{phase: Running, containerStatuses: [{{name: a, \
             image: redis:5, imageID: 'docker.io/library/redis@{DIGEST}', ready: true, restartCount: 0}}]}}}}"
        ));
        let found = of_pod(&pod).unwrap();
        assert_eq!((found.kind, found.namespace.as_str(), found.name.as_str()), ("Pod", "apps", "web"));
        let running = format!("docker.io/library/redis@{DIGEST}");
        let expected = ["docker.io/library/redis:5", "docker.io/library/busybox:latest", &running];
        assert_eq!(names(Some(found)), expected);
    }

    #[test]
    fn a_pod_that_has_ended_uses_nothing() {
        for (phase, used) in [("Succeeded", false), ("Failed", false), ("Pending", true), ("Unknown", true)] {
            let pod: Pod = read(&format!("{{metadata: {{name: a}}, spec: {CONTAINER}, status: {{phase: {phase}}}}}"));
            assert_eq!(of_pod(&pod).is_some(), used, "{phase}");
        }
    }

    #[test]
    fn templates_count_only_while_they_have_no_pods() {
        let scaled = |replicas: u32| -> (Deployment, StatefulSet) {
            let spec =
                format!("{{replicas: {replicas}, selector: {{}}, serviceName: a, template: {{spec: {CONTAINER}}}}}");
            let object = format!("{{metadata: {{name: a}}, spec: {spec}}}");
            (read(&object.replace("serviceName: a, ", "")), read(&object))
        };
        let (deployment, set) = scaled(0);
        assert_eq!(names(of_deployment(&deployment)), REDIS);
        assert_eq!(names(of_stateful_set(&set)), REDIS);
        let (deployment, set) = scaled(1);
        assert!(of_deployment(&deployment).is_none() && of_stateful_set(&set).is_none());
    }

    #[test]
    fn a_cron_job_always_counts_and_a_job_only_while_it_is_suspended() {
        let cron: CronJob = read(&format!(
            "{{metadata: {{name: a}}, spec: {{schedule: '0 0 * * *', jobTemplate: {{spec: {{template: {{spec: {CONTAINER}}}}}}}}}}}"
        ));
        assert_eq!(names(of_cron_job(&cron)), REDIS);
        let job = |suspend: bool| -> Job {
            read(&format!("{{metadata: {{name: a}}, spec: {{suspend: {suspend}, template: {{spec: {CONTAINER}}}}}}}"))
        };
        assert!(of_job(&job(true)).is_some() && of_job(&job(false)).is_none());
    }
}
