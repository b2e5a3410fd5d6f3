//! As plugin of the `dcos` command: through its cluster's front door.

use std::io::{Read, Write};

use crate::program::{finish, program};

#[test]
fn the_environment_of_the_dcos_command_leads_to_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    let door = std::thread::spawn(move || {
        let mut heads = Vec::new();
        for _ in 0..2 {
            let mut bytes = [0; 4096];
            let (mut stream, _) = listener.accept().unwrap();
            let count = stream.read(&mut bytes).unwrap();
            let body = r#"{"packages":[]}"#;
            write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                .unwrap();
            heads.push(String::from_utf8_lossy(&bytes[..count]).to_lowercase());
        }
        heads
    });
    let call = |more: &[(&str, &str)]| {
        let mut command = program(folder.path(), &["registry", "list"]);
        command.env("DCOS_URL", &url).env("DCOS_ACS_TOKEN", "of-the-user").env("DCOS_VERBOSITY", "1");
        command.envs(more.iter().copied());
        finish(&mut command)
    };
    let ran = call(&[]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "There are no packages.\n"), "{}", ran.err);
    assert!(ran.err.contains("GET http://127.0.0.1") && !ran.err.contains("of-the-user"), "{}", ran.err);
    // `dcos config set registry.name /team/registry`
    assert_eq!(call(&[("DCOS_REGISTRY_NAME", "/team/registry")]).code, 0);
    let heads = door.join().unwrap();
    assert!(heads[0].starts_with("get /service/dcos-registry/api/v1/packages "), "{}", heads[0]);
    assert!(heads[0].contains("authorization: token=of-the-user\r\n"), "{}", heads[0]);
    assert!(heads[1].starts_with("get /service/team/registry/api/v1/packages "), "{}", heads[1]);
}
