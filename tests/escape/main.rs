//! The escape suite: one file for each thing that a sandbox must not be able to do. Every case runs the shipped binary
//! as root and as an ordinary user, asserts why the attack failed, and shows once, with the wall taken away, that the
//! attack works where nothing stops it.

mod agent;
mod envs;
mod internet;
mod support;

mod abi;
mod broker_approvals;
mod broker_messages;
mod cgroup_agent;
mod copied_out;
mod core_pattern;
mod credentials;
mod credentials_in_use;
mod devices;
mod disk_fill;
mod doors;
mod egress_addresses;
mod egress_hosts;
mod egress_names;
mod egress_smuggling;
mod fork_bomb;
mod given_mounts;
mod guest_program;
mod host_files;
mod host_network;
mod kernel_interfaces;
mod kernel_log;
mod leaked_descriptors;
mod memory_files;
mod memory_hog;
mod mounts;
mod namespaces;
mod other_processes;
mod overlay_attributes;
mod plugin_install;
mod plugins;
mod privileges;
mod proc_settings;
mod processor_hog;
mod read_only_root;
mod reentry;
mod set_id_files;
mod set_id_in_envs;
mod sockets;
mod sysfs;
mod system_calls;
mod tables;
mod terminal_input;
mod unkillable;
