/*
 * The floor: one process in every layer that a Lazaret sandbox has, written with nothing but system calls.
 *
 * It keeps no promises: no protocol, no cleaning up after a failure, no rootless mode, one command. It says what the
 * layers themselves cost on a machine, so that the price of everything around them can be seen.
 *
 * floor STATE_DIR HOST_UID SECCOMP_FILTER GUEST_FILE COMMAND [ARGS]     (as root)
 *
 * STATE_DIR holds `lower` (the skeleton of the root, with usr, proc, dev, tmp, run/lazaret, guest, workspace, home).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(call) do { if ((long)(call) < 0) { perror(#call); _exit(111); } } while (0)
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static const char *const hierarchies[] = { "memory", "pids", "cpu" };
static char state[256], box[320], name[64];
static int uid;

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	CHECK(fd);
	CHECK(write(fd, text, strlen(text)));
	close(fd);
}

/* Control groups: the guest's, and inside it the commands'. */
static void group_path(char *out, size_t len, const char *hierarchy, const char *rest)
{
	snprintf(out, len, "/sys/fs/cgroup/%s/%s%s", hierarchy, name, rest);
}

static void groups_make(void)
{
	char path[512];
	for (size_t i = 0; i < ARRAY_LEN(hierarchies); i++) {
		group_path(path, sizeof path, hierarchies[i], "");
		CHECK(mkdir(path, 0755));
		group_path(path, sizeof path, hierarchies[i], "/commands");
		CHECK(mkdir(path, 0755));
	}
	group_path(path, sizeof path, "memory", "/commands/memory.limit_in_bytes");
	put(path, "2147483648");
	group_path(path, sizeof path, "pids", "/commands/pids.max");
	put(path, "256");
	group_path(path, sizeof path, "cpu", "/commands/cpu.cfs_quota_us");
	put(path, "100000");
}

/* Only the sandbox's first process moves; what it starts is in its groups without another move. */
static void groups_enter(void)
{
	char path[512];
	for (size_t i = 0; i < ARRAY_LEN(hierarchies); i++) {
		group_path(path, sizeof path, hierarchies[i], "/cgroup.procs");
		put(path, "0");
	}
	CHECK(unshare(CLONE_NEWCGROUP));
}

static void groups_remove(void)
{
	char path[512];
	for (size_t i = 0; i < ARRAY_LEN(hierarchies); i++) {
		group_path(path, sizeof path, hierarchies[i], "/commands");
		CHECK(rmdir(path));
		group_path(path, sizeof path, hierarchies[i], "");
		CHECK(rmdir(path));
	}
}

static int new_fs(const char *type, const char *const *options)
{
	int fs = syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
	CHECK(fs);
	for (; options && options[0]; options += 2)
		CHECK(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, options[0], options[1], 0));
	CHECK(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
	int mount = syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	CHECK(mount);
	close(fs);
	return mount;
}

static void attributes(int mount, uint64_t set, uint64_t clear)
{
	struct mount_attr attr = { .attr_set = set, .attr_clr = clear };
	CHECK(syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH, &attr, sizeof attr));
}

static int tree(int at, const char *path)
{
	int mount = syscall(SYS_open_tree, at, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	CHECK(mount);
	return mount;
}

static void attach(int mount, const char *path)
{
	CHECK(syscall(SYS_move_mount, mount, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH));
	close(mount);
}

static void bind_tree(const char *from, const char *to, uint64_t set)
{
	int mount = tree(AT_FDCWD, from);
	attributes(mount, set, 0);
	attach(mount, to);
}

/* The tree, built beside the host's and then put in its place. Gives a descriptor of a /proc without masks. */
static int root_make(const char *guest)
{
	char lower[512], upper[512], work[512], door[512];
	snprintf(lower, sizeof lower, "%s/lower", state);
	snprintf(upper, sizeof upper, "%s/upper", box);
	snprintf(work, sizeof work, "%s/work", box);
	snprintf(door, sizeof door, "%s/door", box);
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	const char *overlay[] = { "lowerdir", lower, "upperdir", upper, "workdir", work, "index", "off", NULL };
	int fs = syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC);
	CHECK(fs);
	for (const char **o = overlay; o[0]; o += 2)
		CHECK(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, o[0], o[1], 0));
	CHECK(syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, "userxattr", NULL, 0));
	CHECK(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
	int root = syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	CHECK(root);
	close(fs);
	attach(dup(root), lower);
	close(root);
	CHECK(chdir(lower));
	int workspace = tree(AT_FDCWD, "workspace"), home = tree(AT_FDCWD, "home");
	int top = open(".", O_PATH | O_CLOEXEC);
	CHECK(top);
	attributes(top, MOUNT_ATTR_RDONLY, 0);
	close(top);
	attach(workspace, "workspace");
	attach(home, "home");
	bind_tree("/usr", "usr", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	bind_tree(guest, "guest", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	bind_tree(door, "run/lazaret", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	const char *small[] = { "size", "64m", "mode", "1777", NULL };
	const char *dev[] = { "size", "64k", "mode", "755", NULL };
	attach(new_fs("tmpfs", small), "tmp");
	attach(new_fs("tmpfs", dev), "dev");
	static const char *const nodes[] = { "null", "zero", "full", "random", "urandom", "tty" };
	for (size_t i = 0; i < ARRAY_LEN(nodes); i++) {
		char from[32], to[32];
		snprintf(from, sizeof from, "/dev/%s", nodes[i]);
		snprintf(to, sizeof to, "dev/%s", nodes[i]);
		CHECK(close(open(to, O_CREAT | O_WRONLY | O_CLOEXEC, 0666)));
		bind_tree(from, to, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
	}
	CHECK(mkdir("dev/shm", 01777));
	CHECK(mkdir("dev/pts", 0755));
	CHECK(symlink("/proc/self/fd", "dev/fd"));
	CHECK(symlink("pts/ptmx", "dev/ptmx"));
	attach(new_fs("tmpfs", small), "dev/shm");
	const char *pts[] = { "mode", "620", "ptmxmode", "666", NULL };
	int ptsfs = new_fs("devpts", pts);
	attributes(ptsfs, 0, MOUNT_ATTR_NODEV);
	attach(ptsfs, "dev/pts");
	int proc = new_fs("proc", NULL);
	int unmasked = new_fs("proc", NULL);
	attach(proc, "proc");
	static const char *const hidden[] = { "proc/kcore", "proc/keys", "proc/timer_list", "proc/sysrq-trigger", "proc/kallsyms", "proc/kmsg", "proc/config.gz" };
	for (size_t i = 0; i < ARRAY_LEN(hidden); i++)
		if (access(hidden[i], F_OK) == 0)
			bind_tree("/dev/null", hidden[i], MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
	static const char *const fixed[] = { "proc/sys", "proc/irq", "proc/bus", "proc/fs" };
	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		if (access(fixed[i], F_OK) == 0)
			bind_tree(fixed[i], fixed[i], MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	CHECK(syscall(SYS_pivot_root, ".", "."));
	CHECK(umount2(".", MNT_DETACH));
	CHECK(chdir("/workspace"));
	return unmasked;
}

static void network_up(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	CHECK(fd);
	struct ifreq request = { .ifr_flags = IFF_UP | IFF_RUNNING };
	strcpy(request.ifr_name, "lo");
	CHECK(ioctl(fd, SIOCSIFFLAGS, &request));
	close(fd);
}

static void put_at(int at, const char *path, const char *text)
{
	int fd = openat(at, path, O_WRONLY | O_CLOEXEC);
	CHECK(fd);
	CHECK(write(fd, text, strlen(text)));
	close(fd);
}

/* Becomes the sandbox's user, and makes a user namespace that owns nothing else. */
static void identity(int proc)
{
	char map[64];
	CHECK(syscall(SYS_setgroups, 0, NULL));
	CHECK(setresgid(uid, uid, uid));
	CHECK(setresuid(uid, uid, uid));
	CHECK(prctl(PR_SET_DUMPABLE, 1));
	CHECK(unshare(CLONE_NEWUSER));
	put_at(proc, "self/setgroups", "deny");
	snprintf(map, sizeof map, "1000 %d 1", uid);
	put_at(proc, "self/uid_map", map);
	put_at(proc, "self/gid_map", map);
	put_at(proc, "sys/user/max_user_namespaces", "0");
}

static void privileges_drop(void)
{
	for (int capability = 0; capability <= 40; capability++)
		prctl(PR_CAPBSET_DROP, capability);
	CHECK(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
		SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED));
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };
	CHECK(syscall(SYS_capset, &header, none));
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	CHECK(prctl(PR_SET_DUMPABLE, 0));
}

static void landlock(void)
{
	const uint64_t read = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
	const uint64_t all = (1ULL << 13) - 1;
	const struct { const char *path; uint64_t access; } rules[] = {
		{ "/", read }, { "/workspace", all }, { "/home", all }, { "/tmp", all }, { "/dev", all },
	};
	struct landlock_ruleset_attr attr = { .handled_access_fs = all };
	int ruleset = syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
	CHECK(ruleset);
	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		struct landlock_path_beneath_attr rule = { .allowed_access = rules[i].access, .parent_fd = open(rules[i].path, O_PATH | O_CLOEXEC) };
		CHECK(rule.parent_fd);
		CHECK(syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0));
		close(rule.parent_fd);
	}
	CHECK(syscall(SYS_landlock_restrict_self, ruleset, 0));
	close(ruleset);
}

static struct sock_filter filter[4096];
static ssize_t filter_bytes;

static void seccomp(void)
{
	struct sock_fprog program = { .len = filter_bytes / sizeof filter[0], .filter = filter };
	CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program));
}

static void limits(void)
{
	const struct { int what; rlim_t value; } all[] = { { RLIMIT_NOFILE, 4096 }, { RLIMIT_CORE, 0 }, { RLIMIT_FSIZE, 4ULL << 30 } };
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		struct rlimit limit = { all[i].value, all[i].value };
		CHECK(setrlimit(all[i].what, &limit));
	}
}

/* The first process: everything above, then the command under it in the commands' groups. */
static void first(const char *guest, const int *commands, char **command)
{
	groups_enter();
	CHECK(sethostname("lazaret", 7));
	int proc = root_make(guest);
	network_up();
	put_at(proc, "sys/vm/memfd_noexec", "1");
	limits();
	identity(proc);
	close(proc);
	privileges_drop();
	landlock();
	seccomp();
	pid_t child = fork();
	CHECK(child);
	if (child == 0) {
		for (size_t i = 0; i < ARRAY_LEN(hierarchies); i++)
			CHECK(write(commands[i], "0", 1));
		setsid();
		execvp(command[0], command);
		perror(command[0]);
		_exit(127);
	}
	int status;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 112);
}

static void directories_make(void)
{
	static const char *const parts[] = { "", "/upper", "/work", "/door", "/upper/workspace", "/upper/home" };
	char path[512];
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		snprintf(path, sizeof path, "%s%s", box, parts[i]);
		CHECK(mkdir(path, 0755));
	}
	snprintf(path, sizeof path, "%s/upper/workspace", box);
	CHECK(chown(path, uid, uid));
	snprintf(path, sizeof path, "%s/upper/home", box);
	CHECK(chown(path, uid, uid));
}

static void directories_remove(void)
{
	/* work/work is the kernel's; deepest first. */
	static const char *const parts[] = { "upper/workspace", "upper/home", "upper", "work/work", "work", "door" };
	char path[512];
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		snprintf(path, sizeof path, "%s/%s", box, parts[i]);
		CHECK(rmdir(path));
	}
	CHECK(rmdir(box));
}

int main(int argc, char **argv)
{
	if (argc < 6) {
		fprintf(stderr, "usage: floor STATE_DIR HOST_UID SECCOMP_FILTER GUEST_FILE COMMAND [ARGS]\n");
		return 2;
	}
	snprintf(state, sizeof state, "%s", argv[1]);
	uid = atoi(argv[2]);
	snprintf(name, sizeof name, "lazaret-floor-%d", getpid());
	snprintf(box, sizeof box, "%s/%d", state, getpid());
	int fd = open(argv[3], O_RDONLY | O_CLOEXEC);
	CHECK(fd);
	CHECK(filter_bytes = read(fd, filter, sizeof filter));
	close(fd);

	groups_make();
	directories_make();
	int commands[ARRAY_LEN(hierarchies)];
	for (size_t i = 0; i < ARRAY_LEN(hierarchies); i++) {
		char path[512];
		group_path(path, sizeof path, hierarchies[i], "/commands/cgroup.procs");
		commands[i] = open(path, O_WRONLY | O_CLOEXEC);
		CHECK(commands[i]);
	}
	struct clone_args args = {
		.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS,
		.exit_signal = SIGCHLD,
	};
	pid_t pid = syscall(SYS_clone3, &args, sizeof args);
	CHECK(pid);
	if (pid == 0)
		first(argv[4], commands, argv + 5);
	int status;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	groups_remove();
	directories_remove();
	return WIFEXITED(status) ? WEXITSTATUS(status) : 113;
}
