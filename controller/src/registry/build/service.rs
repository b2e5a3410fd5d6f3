//! The Service in front of the serving pods.

use crds::ServiceType;
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{
    deployment::HTTPS_PORT_NAME,
    labels::{Component, owned, server_selector},
};
use crate::{registry::validate::Validated, trust::plan::PORT};

/// The Service. With `addresses` it asks for those; without, for any.
#[must_use]
pub fn service(registry: &Validated, addresses: &[String]) -> Service {
    Service {
        metadata: owned(registry, &registry.service.name, Component::Server),
        spec: Some(ServiceSpec {
            type_: Some(type_name(registry.service.type_).to_owned()),
            selector: Some(server_selector(registry.names.registry())),
            ports: Some(vec![ServicePort {
                name: Some(HTTPS_PORT_NAME.into()),
                port: i32::from(PORT),
                protocol: Some("TCP".into()),
                target_port: Some(IntOrString::String(HTTPS_PORT_NAME.into())),
                ..ServicePort::default()
            }]),
            cluster_ip: addresses.first().cloned(),
            cluster_ips: (!addresses.is_empty()).then(|| addresses.to_vec()),
            ip_family_policy: Some("PreferDualStack".into()),
            // Defaults, said so that they are repaired: nodes without a serving pod pull, too.
            internal_traffic_policy: Some("Cluster".into()),
            session_affinity: Some("None".into()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn type_name(type_: ServiceType) -> &'static str {
    match type_ {
        ServiceType::ClusterIP => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    }
}
