//! The registry server: images, files and the catalogue of packages, over HTTP, out of one store.
//!
//! [`http::app`] makes the router from [`http::Server`]; everything else is what stands behind its routes, and
//! [`serve`] what stands in front of them.

pub mod audit;
pub mod auth;
pub mod catalogue;
pub mod config;
pub mod declarations;
pub mod digest;
pub mod http;
pub mod images;
pub mod incoming;
pub mod ingest;
pub mod metrics;
pub mod names;
pub mod serve;
pub mod storage;
pub mod tls;
pub mod uploads;
