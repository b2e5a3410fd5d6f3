//! The `OpenAPI` document of `/api/v1`, made from the handlers and the types that they take and give.

use std::sync::LazyLock;

use axum::Json;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Document, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::{api_v1, package_list, packages, uploads};

#[derive(OpenApi)]
#[openapi(
    info(title = "Package Registry", description = "Packages of a registry: what is there, bringing and removing them."),
    paths(
        package_list::list,
        packages::describe,
        packages::remove,
        packages::content,
        packages::blob,
        uploads::announce,
        uploads::view,
        uploads::abandon,
        uploads::complete,
        uploads::offset,
        uploads::append,
        api_v1::declaration,
        api_v1::declare,
        api_v1::withdraw,
        api_v1::status,
    ),
    components(schemas(api::ApiError)),
    modifiers(&Everywhere)
)]
struct Described;

/// What is the same for every call: who may, and what is answered where nobody can say.
struct Everywhere;

const EVERYWHERE: [(&str, &str); 3] = [
    ("401", "It isn't known who asks."),
    ("403", "Who asks may not."),
    ("503", "The store, or the API server, can't be asked at the moment."),
];

impl Modify for Everywhere {
    fn modify(&self, document: &mut Document) {
        let schemes = [("bearer", HttpAuthScheme::Bearer), ("basic", HttpAuthScheme::Basic)];
        let components = document.components.get_or_insert_default();
        for (name, scheme) in &schemes {
            let scheme = HttpBuilder::new().scheme(scheme.clone()).build();
            components.add_security_scheme(*name, SecurityScheme::Http(scheme));
        }
        for item in document.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
            operations.into_iter().flatten().for_each(|operation| add(operation, true));
            item.head.iter_mut().for_each(|operation| add(operation, false));
        }
    }
}

fn add(operation: &mut Operation, body: bool) {
    for (status, description) in EVERYWHERE {
        let mut response = ResponseBuilder::new().description(description);
        if body {
            let error = ContentBuilder::new().schema(Some(Ref::from_schema_name("ApiError"))).build();
            response = response.content("application/json", error);
        }
        operation.responses.responses.insert(status.to_owned(), RefOr::T(response.build()));
    }
    let none: [&str; 0] = [];
    operation.security = Some(vec![SecurityRequirement::new("bearer", none), SecurityRequirement::new("basic", none)]);
}

/// The document.
#[must_use]
pub fn document() -> Document {
    Described::openapi()
}

/// `GET /api/v1/openapi.json`.
pub async fn serve() -> Json<&'static Document> {
    static DOCUMENT: LazyLock<Document> = LazyLock::new(document);
    Json(&DOCUMENT)
}
