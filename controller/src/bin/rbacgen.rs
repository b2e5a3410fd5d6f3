//! Writes the operator's roles: `rbacgen FOLDER` writes three files below `FOLDER/manifests/rbac`.

use std::{error::Error, fs, path::Path};

use controller::rbac;

fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::args().nth(1).ok_or("usage: rbacgen FOLDER (the project's root)")?;
    let folder = Path::new(&root).join("manifests/rbac");
    let files = [
        ("controller.yaml", &rbac::CONTROLLER),
        ("own-namespace.yaml", &rbac::OWN_NAMESPACE),
        ("node-trust.yaml", &rbac::NODE_TRUST),
    ];
    for (name, grant) in files {
        fs::write(folder.join(name), rbac::yaml(grant))?;
    }
    Ok(())
}
