//! Each wall holds, and what it stops works when it is taken away.

use crate::support::{Case, MODES};

#[test]
fn a_command_runs_as_user_1000_in_a_tree_of_its_own() {
    for rootless in MODES {
        let case = Case::new(rootless);
        let out = case.sh("id -u; id -g; hostname; pwd; ls /; cat /proc/1/comm; ls /sys | wc -l");
        let tree = "bin\ndata\ndev\netc\nhome\nlib\nlib64\nopt\nproc\nrun\nsbin\nsys\ntmp\nusr\nworkspace";
        assert_eq!(out.ok(), format!("1000\n1000\nsandbox\n/workspace\n{tree}\nguest\n0"), "rootless: {rootless}");
    }
}
