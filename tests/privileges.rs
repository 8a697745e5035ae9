//! `user =`: root binds and reads, and then it is somebody else for good; and no crash leaves what
//! was in memory on the disk.

#![expect(clippy::unwrap_used, reason = "what fails here has failed the test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use ahm::reactor::privileges::Account;

struct Server {
    child: Child,
    lines: Vec<String>,
}

impl Server {
    fn start(settings: &[String]) -> Self {
        let mut child = command(settings).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = Vec::new();
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
        while !lines.iter().any(|line: &String| line.starts_with("private unix:")) {
            lines.push(out.next().unwrap().unwrap());
        }
        Self { child, lines }
    }

    /// A line of what the kernel says of each thread.
    fn of_threads(&self, name: &str) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let line = |task: fs::DirEntry| {
            let text = fs::read_to_string(task.path().join("status")).unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
            line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        tasks.map(|task| line(task.unwrap())).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(settings: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ahm"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--shards", "2"]);
    settings.iter().for_each(|setting| {
        command.args(["--set", setting]);
    });
    command.env("AHM_REGISTRY_LISTEN", "127.0.0.1:0").stdin(Stdio::null());
    command
}

/// A directory that anybody may enter, with a file of tokens that only its owner may read.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("ahm-user-{}-{name}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("tokens"), "a 0123456789abcdef all\n").unwrap();
    fs::set_permissions(folder.join("tokens"), fs::Permissions::from_mode(0o600)).unwrap();
    folder
}

#[test]
fn root_becomes_somebody_else_in_every_thread() {
    if Account::own().user != 0 {
        return who_is_not_root_is_told_so();
    }
    let folder = folder("root");
    let nobody = Account::find("nobody", "").unwrap();
    // The user takes the socket away at the end.
    std::os::unix::fs::chown(&folder, Some(nobody.user), Some(nobody.group)).unwrap();
    let (socket, root) = (folder.join("private"), folder.join("site"));
    fs::create_dir(&root).unwrap();
    fs::write(root.join("index.html"), "hello").unwrap();
    let mut server = Server::start(&[
        "user=nobody".into(),
        format!("private.token_file={}", folder.join("tokens").display()),
        format!("private.listen=127.0.0.1:0,{}", socket.display()),
        format!("relay.root={}", root.display()),
    ]);
    let Account { user, group } = nobody;
    let (users, groups) = (server.of_threads("Uid"), server.of_threads("Gid"));
    assert!(users.len() > 3, "shards, registry and more: {users:?}");
    assert!(users.iter().all(|line| *line == format!("{user} {user} {user} {user}")), "{users:?}");
    assert!(groups.iter().all(|line| *line == format!("{group} {group} {group} {group}")));
    assert!(server.of_threads("Groups").iter().all(|line| *line == group.to_string()));
    for set in ["CapEff", "CapPrm"] {
        assert!(server.of_threads(set).iter().all(|line| line.trim_matches('0').is_empty()));
    }
    // Nobody but root looks into it, and it leaves no core file.
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    assert_eq!(fs::metadata(format!("/proc/{}/mem", server.child.id())).unwrap().uid(), 0);
    // It serves as before: by the socket, which is the user's own now, and the files of the site.
    let file = fs::metadata(&socket).unwrap();
    assert_eq!((file.uid(), file.gid(), file.mode() & 0o777), (user, group, 0o600));
    let mut peer = UnixStream::connect(&socket).unwrap();
    peer.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let mut said = String::new();
    peer.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    let address = server.lines[0].strip_prefix("listening http://").unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"GET /index.html HTTP/1.0\r\nHost: a\r\n\r\n").unwrap();
    said.clear();
    client.read_to_string(&mut said).unwrap();
    assert!(said.ends_with("hello"), "{said}");
    let kill = format!("kill -INT {}", server.child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    assert!(server.child.wait().unwrap().success());
    assert!(!socket.exists(), "its file goes with it");
    fs::remove_dir_all(&folder).unwrap();
}

/// Runs as anybody; root asks somebody else to run it.
#[test]
fn who_is_not_root_is_told_so() {
    use std::os::unix::process::CommandExt as _;
    let mut command = command(&["user=daemon".into(), "private.listen=127.0.0.1:0".into()]);
    if Account::own().user == 0 {
        let nobody = Account::find("nobody", "").unwrap();
        // The binary may lie where only root may go.
        let copy = std::env::temp_dir().join(format!("ahm-copy-{}", std::process::id()));
        fs::copy(env!("CARGO_BIN_EXE_ahm"), &copy).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
        let mut other = Command::new(&copy);
        other.args(command.get_args()).env("AHM_REGISTRY_LISTEN", "off").stdin(Stdio::null());
        other.uid(nobody.user).gid(nobody.group).current_dir("/");
        let out = other.output().unwrap();
        fs::remove_file(&copy).unwrap();
        return is_refused(&out);
    }
    is_refused(&command.output().unwrap());
}

fn is_refused(out: &std::process::Output) {
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    let wanted = "ahm serve: user: only root can become another user, and this process is user ";
    assert!(said.contains(wanted), "{said}");
}

#[test]
fn an_account_that_cannot_be_is_told() {
    for (setting, wanted) in [
        ("user=ahm-no-such-user", "user: there is no user \"ahm-no-such-user\""),
        ("user=root", "user: user \"root\" gives up nothing"),
        ("user=4711", "user: user \"4711\" is a number, so `group` is needed"),
        ("group=daemon", "group: it goes with a `user`"),
        ("user=a b", "user: \"a b\" is no name of an account"),
    ] {
        let out = command(&[setting.into(), "private.listen=127.0.0.1:0".into()]).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success() && said.contains(wanted), "{setting}: {said}");
    }
}
