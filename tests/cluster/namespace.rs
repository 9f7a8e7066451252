//! Two [network namespaces](https://man7.org/linux/man-pages/man7/network_namespaces.7.html) without access to other
//! networks, which are connected by a virtual cable. The hub has PostgreSQL and most nodes, and the spoke has one node.
//!
//! Both namespaces have no name, so the kernel removes them with their last process, even if a test fails.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use crate::harness::text;
use crate::postgres::run_checked;

/// Address of the hub, which is the network namespace of the test process.
pub(crate) const HUB: &str = "10.77.0.1";
/// Address of the spoke.
pub(crate) const SPOKE: &str = "10.77.0.2";
/// Environment variable that is set in the test process that runs in the namespace.
const INSIDE: &str = "CLUSTER_TEST_INSIDE_NAMESPACE";

/// Returns whether this process is in its own network namespace. If not, it runs the test of this name in a new process in a
/// new namespace, and the caller must return.
pub(crate) fn entered(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        run_checked(Command::new("ip").args(["link", "set", "lo", "up"]));
        return true;
    }
    let test_program = std::env::current_exe().expect("a running program has a file");
    let mut command = Command::new("unshare");
    command.args(["--net", "--"]).arg(test_program).args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    let output = command.output().expect("these tests need unshare (Debian: apt-get install util-linux)");
    let stdout = text(&output.stdout);
    let stderr = text(&output.stderr);
    assert!(output.status.success() && stdout.contains("1 passed"), "{test} in a namespace: {stdout}\n{stderr}");
    let printed =
        stdout.lines().filter(|line| !line.is_empty() && !line.starts_with("running") && !line.starts_with("test "));
    printed.for_each(|line| println!("{line}"));
    false
}

/// Network namespace of one node, which a test can disconnect.
pub(crate) struct Spoke {
    /// Process that keeps the namespace. It ends when its input is closed, at the latest with the test process.
    holder: Child,
}

impl Spoke {
    pub(crate) fn new() -> Self {
        let mut holder = Command::new("unshare");
        holder.args(["--net", "--", "sh", "-c", "echo entered; exec cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = holder.spawn().expect("unshare runs");
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().expect("piped")).read_line(&mut line).expect("text");
        assert_eq!(line, "entered\n", "these tests need root for a network namespace");
        let spoke = Self { holder };
        let pid = spoke.holder.id();
        let address = format!("{SPOKE}/24");
        ip(&format!("link add hub type veth peer name spoke netns {pid}"));
        ip(&format!("address add {HUB}/24 dev hub"));
        ip("link set hub up");
        for command in ["link set lo up", "link set spoke up", &format!("address add {address} dev spoke")] {
            run_checked(spoke.enter().arg("ip").args(command.split(' ')));
        }
        spoke
    }

    /// Returns a command that runs the same program in this network.
    pub(crate) fn command(&self, command: &Command) -> Command {
        let mut inside = self.enter();
        inside.arg(command.get_program()).args(command.get_args());
        if let Some(directory) = command.get_current_dir() {
            inside.current_dir(directory);
        }
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }

    /// Returns a command that runs the program of its next argument in the namespace.
    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--net", "--"]);
        command
    }

    /// Drops all packets to and from this port of the other network, without an error on either side.
    pub(crate) fn disconnect_from(&self, port: u16) {
        self.firewall(&format!(
            "table inet cut {{
                chain out {{ type filter hook output priority 0; tcp dport {port} drop; }}
                chain in {{ type filter hook input priority 0; tcp sport {port} drop; }}
            }}"
        ));
    }

    /// Stops dropping packets.
    pub(crate) fn reconnect(&self) {
        self.firewall("delete table inet cut");
    }

    /// Applies these rules of nftables in the namespace.
    fn firewall(&self, rules: &str) {
        let mut nft = self.enter();
        nft.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
        let mut nft = nft.args(["nft", "-f", "-"]).stdin(Stdio::piped()).spawn().expect("nsenter runs");
        nft.stdin.take().expect("piped").write_all(rules.as_bytes()).expect("nft reads its input");
        assert!(nft.wait().expect("nft ends").success(), "these tests need nft (Debian: apt-get install nftables)");
    }
}

impl Drop for Spoke {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn ip(command: &str) {
    run_checked(Command::new("ip").args(command.split(' ')));
}
