//! Two networks without a way out, joined by a cable: the test's own with PostgreSQL and most nodes, and that of one node.
//!
//! Both are nameless network namespaces, which are gone with the last process in them; so nothing is left behind, however a test
//! ends.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use crate::harness::text;
use crate::postgres::done;

/// Where the test's own network is reached from the other.
pub(crate) const HUB: &str = "10.77.0.1";
/// Where the other is reached.
pub(crate) const SPOKE: &str = "10.77.0.2";
/// Set in the process that runs in the namespace.
const INSIDE: &str = "CLUSTER_TEST_INSIDE_NAMESPACE";

/// Whether this process is in a network namespace of its own. If not, it runs the test of this name again in one, as another
/// process, and there is nothing more to do here.
pub(crate) fn entered(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        done(Command::new("ip").args(["link", "set", "lo", "up"]));
        return true;
    }
    let this = std::env::current_exe().expect("a running program has a file");
    let mut again = Command::new("unshare");
    again.args(["--net", "--"]).arg(this).args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    let output = again.output().expect("these tests need unshare (Debian: apt-get install util-linux)");
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{test} in a namespace: {said}\n{complained}");
    let told =
        said.lines().filter(|line| !line.is_empty() && !line.starts_with("running") && !line.starts_with("test "));
    told.for_each(|line| println!("{line}"));
    false
}

/// The other network.
pub(crate) struct Spoke {
    /// Lives in the namespace until its input ends, which it does with this process.
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
        let (pid, address) = (spoke.holder.id(), format!("{SPOKE}/24"));
        ip(&format!("link add hub type veth peer name spoke netns {pid}"));
        ip(&format!("address add {HUB}/24 dev hub"));
        ip("link set hub up");
        for command in ["link set lo up", "link set spoke up", &format!("address add {address} dev spoke")] {
            done(spoke.enter().arg("ip").args(command.split(' ')));
        }
        spoke
    }

    /// The same command there.
    pub(crate) fn there(&self, command: &Command) -> Command {
        let mut there = self.enter();
        there.arg(command.get_program()).args(command.get_args());
        if let Some(directory) = command.get_current_dir() {
            there.current_dir(directory);
        }
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => there.env(name, value),
                None => there.env_remove(name),
            };
        }
        there
    }

    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--net", "--"]);
        command
    }

    /// Drops whatever goes to or comes from this port of others, without a word to either side.
    pub(crate) fn cut_off_from(&self, port: u16) {
        self.firewall(&format!(
            "table inet cut {{
                chain out {{ type filter hook output priority 0; tcp dport {port} drop; }}
                chain in {{ type filter hook input priority 0; tcp sport {port} drop; }}
            }}"
        ));
    }

    /// Lets everything through again.
    pub(crate) fn mend(&self) {
        self.firewall("delete table inet cut");
    }

    fn firewall(&self, rules: &str) {
        let mut nft = self.enter();
        nft.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
        let mut nft = nft.args(["nft", "-f", "-"]).stdin(Stdio::piped()).spawn().expect("nsenter runs");
        nft.stdin.take().expect("piped").write_all(rules.as_bytes()).expect("it reads");
        assert!(nft.wait().expect("it ends").success(), "these tests need nft (Debian: apt-get install nftables)");
    }
}

impl Drop for Spoke {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn ip(command: &str) {
    done(Command::new("ip").args(command.split(' ')));
}
