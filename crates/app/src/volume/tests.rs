use super::*;

/// A volume that goes with the test.
struct Place(Volume);

impl Place {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("lazaret-tools-{:032x}", crate::clock::fresh_bits()));
        Self(Volume::open(dir).expect("make"))
    }

    /// Installs a package with these files.
    fn install(&self, name: &str, files: &[(&str, &str)]) -> ToolView {
        let fresh = self.0.fresh().expect("make");
        for (path, text) in files {
            let path = fresh.dir.join(path);
            fs::create_dir_all(path.parent().expect("has one")).expect("make");
            fs::write(path, text).expect("write");
        }
        self.0.put(fresh, &Wanted::read(name).expect("a name")).expect("install")
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.0.dir.join(path)).ok()
    }

    fn packages(&self) -> usize {
        fs::read_dir(self.0.dir.join(PACKAGES)).expect("read").count()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0.dir);
    }
}

#[test]
fn names_of_tools() {
    let read = |text: &str| Wanted::read(text).map(|w| (w.key(), w.version)).map_err(|f| f.code);
    for (text, key, version) in [
        ("requests", "pypi-requests", None),
        ("Zope.Interface==6.1", "pypi-zope-interface", Some("6.1")),
        ("npm:left-pad@1.3.0", "npm-left-pad", Some("1.3.0")),
        ("npm:@scope/tool", "npm-@scope+tool", None),
        ("npm:@scope/tool@2.0.0", "npm-@scope+tool", Some("2.0.0")),
        ("file:mytool", "file-mytool", None),
    ] {
        assert_eq!(read(text), Ok((key.to_owned(), version.map(str::to_owned))), "{text}");
    }
    for bad in [
        "", "-r", "--index-url=x", "a b", "a;b", "../x", "npm:", "npm:-g", "npm:@a", "npm:@../x", "file:a/b", "file:.x", "x==",
        "x @ http://y",
    ] {
        assert_eq!(read(bad), Err(Code::Usage), "{bad}");
    }
}

#[test]
fn a_package_is_swapped_for_a_newer_one_and_removed_again() {
    let place = Place::new();
    fs::write(place.0.dir.join("bin/own"), "by hand").expect("write");
    let files = [("python/bin/tool", "one"), ("python/tool/__init__.py", "1"), ("python/tool-1.0.dist-info/METADATA", "")];
    let view = place.install("tool", &files);
    assert_eq!((view.version.as_str(), view.programs.as_slice()), ("1.0", ["tool".to_owned()].as_slice()));
    assert_eq!((place.read("bin/tool"), place.read("python/tool/__init__.py")), (Some("one".into()), Some("1".into())));
    place.install("tool", &[("python/bin/tool", "two"), ("python/other.py", "2")]);
    assert_eq!((place.read("bin/tool"), place.read("python/other.py")), (Some("two".into()), Some("2".into())));
    assert!(!place.0.dir.join("python/tool").exists() && fs::symlink_metadata(place.0.dir.join("python/tool")).is_err(), "no dead link");
    assert_eq!(place.packages(), 1, "the older one is gone");
    assert_eq!(place.0.list().expect("read").len(), 1);
    place.0.remove(&Wanted::read("Tool").expect("a name")).expect("remove");
    assert_eq!((place.read("bin/tool"), place.packages()), (None, 0));
    assert_eq!(place.read("bin/own").as_deref(), Some("by hand"));
    assert_eq!(place.0.remove(&Wanted::read("tool").expect("a name")).map_err(|f| f.code), Err(Code::NotFound));
}

#[test]
fn what_the_owner_put_there_stays_and_a_second_package_takes_over_when_the_first_goes() {
    let place = Place::new();
    fs::write(place.0.dir.join("bin/tool"), "by hand").expect("write");
    place.install("npm:tool", &[("npm/bin/tool", "packed"), ("npm/bin/shared", "first")]);
    place.install("npm:zzz", &[("npm/bin/shared", "second")]);
    assert_eq!((place.read("bin/tool").as_deref(), place.read("bin/shared").as_deref()), (Some("by hand"), Some("first")));
    place.0.remove(&Wanted::read("npm:tool").expect("a name")).expect("remove");
    assert_eq!((place.read("bin/tool").as_deref(), place.read("bin/shared").as_deref()), (Some("by hand"), Some("second")));
}

#[test]
fn what_a_kill_left_is_swept() {
    let place = Place::new();
    place.install("tool", &[("python/bin/tool", "one")]);
    std::mem::forget(place.0.fresh().expect("make"));
    fs::create_dir(place.0.dir.join(PACKAGES).join("0123")).expect("make");
    fs::remove_file(place.0.dir.join("bin/tool")).expect("as if it was not linked yet");
    symlink("../.current/pypi-gone/bin/x", place.0.dir.join("bin/x")).expect("link");
    symlink("nowhere", place.0.dir.join(CURRENT).join(format!("{FRESH}1"))).expect("link");
    place.0.sweep().expect("sweep");
    assert_eq!((place.packages(), place.read("bin/tool").as_deref()), (1, Some("one")));
    assert!(fs::symlink_metadata(place.0.dir.join("bin/x")).is_err());
    assert_eq!(fs::read_dir(place.0.dir.join(CURRENT)).expect("read").count(), 1);
}

#[test]
fn everybody_may_read_a_package_and_no_bit_of_it_gives_rights() {
    let place = Place::new();
    let fresh = place.0.fresh().expect("make");
    fs::create_dir_all(fresh.dir.join("bin")).expect("make");
    for (name, mode) in [("run", 0o4700), ("data", 0o600)] {
        fs::write(fresh.dir.join("bin").join(name), "x").expect("write");
        fs::set_permissions(fresh.dir.join("bin").join(name), fs::Permissions::from_mode(mode)).expect("chmod");
    }
    symlink("/etc/passwd", fresh.dir.join("bin/out")).expect("link");
    place.0.put(fresh, &Wanted::read("file:run").expect("a name")).expect("install");
    let mode = |name: &str| fs::metadata(place.0.dir.join("bin").join(name)).expect("there").permissions().mode() & 0o7777;
    assert_eq!((mode("run"), mode("data")), (0o755, 0o644));
    assert!(!place.0.dir.join("bin/out").exists(), "a link to anywhere else is dropped");
}
