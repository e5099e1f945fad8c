//! Servers of the tests' own: a directory, a socket, no TCP. Started when first needed, stopped when the tests end.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, Once, OnceLock};
use std::time::{Duration, Instant};

use super::{Session, edition};

/// The user that servers run as where the tests run as root, which PostgreSQL refuses.
const SERVER_USER: &str = "postgres";

/// Who installs the portable edition, and owns its databases.
pub const PORTABLE_OWNER: &str = "cache_owner";

/// Directories of the servers that have been started.
static STARTED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A private server: a directory for its socket, with its data in a directory in that.
pub struct Server {
    dir: PathBuf,
    data: String,
}

impl Server {
    /// Starts a new server with these lines in its postgresql.conf.
    pub fn start(name: &str, settings: &[&str]) -> Server {
        if !edition().is_portable() {
            install();
        }
        let server = Server::reserve(name);
        server.tool("initdb", &["-D", server.data(), "-U", "postgres", "-A", "trust", "--no-sync", "--locale=C.UTF-8"]);
        let own = ["listen_addresses = ''", "fsync = off", "max_connections = 200", "max_worker_processes = 128"];
        server.append_settings(&own);
        server.append_settings(settings);
        server.listen();
        server
    }

    /// Starts the server on a socket in its directory.
    pub fn listen(&self) {
        self.append_settings(&[&format!("unix_socket_directories = '{}'", self.dir.display())]);
        self.resume();
    }

    /// An empty directory for a server, in the temporary directory so that the server's user can reach it.
    pub fn reserve(name: &str) -> Server {
        let dir = std::env::temp_dir().join(format!("pg_stash-{}-{name}", std::process::id()));
        as_server_user("mkdir", &["-m", "700", dir.to_str().expect("UTF-8")]);
        let mut started = STARTED.lock().expect("no test panics while it holds this");
        if started.is_empty() {
            // SAFETY: the C library's function, with a function that does not unwind.
            unsafe { atexit(stop_all) };
        }
        let data = format!("{}/data", dir.display());
        started.push(dir.clone());
        Server { dir, data }
    }

    pub fn data(&self) -> &str {
        &self.data
    }

    pub fn append_settings(&self, lines: &[&str]) {
        let command = format!("printf '%s\\n' \"$@\" >> '{}/postgresql.conf'", self.data());
        let mut arguments = vec!["-c", &command, "sh"];
        arguments.extend(lines);
        as_server_user("sh", &arguments);
    }

    /// Starts the server again after it was stopped.
    pub fn resume(&self) {
        let (pg_ctl, log) = (binaries().join("pg_ctl"), format!("{}/log", self.data()));
        let mut start = server_user_command(pg_ctl.to_str().expect("UTF-8"));
        start.args(["-D", self.data(), "-l", &log, "-w", "-t", "60", "start"]);
        assert!(start.output().expect("pg_ctl runs").status.success(), "the server does not start: {}", self.log());
    }

    /// Makes a database with a cache: of the native edition as a superuser makes it, of the portable one as a role does that
    /// may do nothing but own the database.
    pub fn make_cache(&self, database: &str) {
        let mut superuser = self.session("postgres");
        if !edition().is_portable() {
            superuser.run(&format!("CREATE DATABASE {database}"));
            return self.add_cache(database);
        }
        if superuser.number(&format!("SELECT count(*) FROM pg_roles WHERE rolname = '{PORTABLE_OWNER}'")) == 0 {
            superuser.run(&format!("CREATE ROLE {PORTABLE_OWNER} LOGIN"));
        }
        superuser.run(&format!("CREATE DATABASE {database} OWNER {PORTABLE_OWNER}"));
        self.add_cache(database);
    }

    /// Installs the edition under test into a database that there is.
    pub fn add_cache(&self, database: &str) {
        if edition().is_portable() {
            self.session_as(PORTABLE_OWNER, database).run(&portable_script("pg_stash.sql"));
        } else {
            self.session(database).run("CREATE EXTENSION pg_stash");
        }
    }

    /// Removes it.
    pub fn remove_cache(&self, database: &str) {
        let mut s = self.session(database);
        s.run(&if edition().is_portable() {
            portable_script("uninstall.sql")
        } else {
            "DROP EXTENSION pg_stash".into()
        });
    }

    /// Stops the server: `smart`, `fast` or `immediate`.
    pub fn stop(&self, mode: &str) {
        self.tool("pg_ctl", &["-D", self.data(), "-m", mode, "-w", "stop"]);
    }

    pub fn promote(&self) {
        self.tool("pg_ctl", &["-D", self.data(), "-w", "promote"]);
    }

    /// Runs one of PostgreSQL's programs as the server's user. Panics where it fails.
    pub fn tool(&self, program: &str, arguments: &[&str]) -> String {
        let path = binaries().join(program);
        let output = as_server_user(path.to_str().expect("UTF-8"), arguments);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The same for a client program, which is told where the server is.
    pub fn client_tool(&self, program: &str, arguments: &[&str]) -> String {
        let mut all = vec!["-h", self.dir.to_str().expect("UTF-8"), "-U", "postgres"];
        all.extend(arguments);
        self.tool(program, &all)
    }

    /// Kills a process of the server as nothing could clean up after, and waits until the server has noticed: from then
    /// on it takes connections only when it has recovered.
    pub fn kill(&self, pid: i64) {
        as_server_user("kill", &["-9", &pid.to_string()]);
        let notice = format!("(PID {pid}) was terminated by signal 9");
        wait_until("the server has noticed the kill", || self.log().contains(&notice));
    }

    /// A session on a server that recovers from a crash.
    pub fn session_after_crash(&self) -> Session {
        let mut session = None;
        wait_until("the server is back by itself", || {
            session = self.try_session("postgres", "postgres").ok();
            session.is_some()
        });
        session.expect("the wait has seen to it")
    }

    /// Appends a page to a table's file that PostgreSQL refuses to read.
    pub fn damage(&self, file: &str) {
        as_server_user("sh", &["-c", &format!("head -c 8192 /dev/urandom >>'{}/{file}'", self.data())]);
    }

    /// Has the server fail to make files in a directory of its data.
    pub fn forbid_writing(&self, directory: &str) {
        as_server_user("chmod", &["500", &format!("{}/{directory}", self.data())]);
    }

    pub fn allow_writing(&self, directory: &str) {
        as_server_user("chmod", &["700", &format!("{}/{directory}", self.data())]);
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&as_server_user("cat", &[&format!("{}/log", self.data())]).stdout).into_owned()
    }

    /// What a program needs to connect.
    pub fn conninfo(&self, database: &str) -> String {
        format!("host={} user=postgres dbname={database}", self.dir.display())
    }

    pub fn session(&self, database: &str) -> Session {
        self.session_as("postgres", database)
    }

    pub fn session_as(&self, user: &str, database: &str) -> Session {
        self.try_session(user, database).expect("the server takes connections")
    }

    pub fn try_session(&self, user: &str, database: &str) -> Result<Session, postgres::Error> {
        let mut config = postgres::Config::new();
        config.host_path(&self.dir).user(user).dbname(database);
        config.connect(postgres::NoTls).map(Session::new)
    }
}

/// Has those who look at the flag stop when it goes out of scope, also where a check has failed: a scope of threads ends
/// only when all of them do.
pub struct StopOnDrop<'a>(pub &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A database with a cache, of a server that all tests share. It is dropped when the test is over, for the databases
/// that can have a sweeper are limited in number.
pub struct Database {
    pub name: String,
    server: &'static Server,
}

impl Database {
    pub fn session(&self) -> Session {
        self.server.session(&self.name)
    }

    pub fn session_as(&self, user: &str) -> Session {
        self.server.session_as(user, &self.name)
    }

    pub fn server(&self) -> &'static Server {
        self.server
    }

    /// What another database like this one needs in its CREATE DATABASE.
    pub fn owner_clause(&self) -> String {
        if edition().is_portable() { format!(" OWNER {PORTABLE_OWNER}") } else { String::new() }
    }

    /// Waits until a session of this database waits for a lock.
    pub fn wait_for_lock_waiter(&self) {
        let mut s = self.session();
        let waiters = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        wait_until("a session waits for a lock", || s.number(waiters) > 0);
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Ok(mut s) = self.server.try_session("postgres", "postgres") {
            s.attempt_anything(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)).ok();
        }
    }
}

/// A new database with a cache on the shared server, whose sweepers let nothing wait longer than two seconds.
pub fn database() -> Database {
    static SHARED: OnceLock<Server> = OnceLock::new();
    static COUNT: AtomicU32 = AtomicU32::new(0);
    static TEMPLATE: Mutex<()> = Mutex::new(());
    let server = SHARED.get_or_init(|| {
        let settings = ["pg_stash.sweep_max_stale = '2s'", "autovacuum_naptime = '1s'", "log_lock_waits = on"];
        let server = Server::start("shared", &settings);
        server.make_cache("stash");
        server
    });
    let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    // Two copies of one template at the same time are refused.
    let _one_at_a_time = TEMPLATE.lock();
    let database = Database { name, server };
    let (name, owner) = (&database.name, database.owner_clause());
    server.session("postgres").run(&format!("CREATE DATABASE {name} TEMPLATE stash{owner}"));
    database
}

/// In the portable edition, the first value with tags that a plain `set` stores after an invalidation may be a miss, unless
/// the clock has been read in between.
pub fn note_time(s: &mut Session) {
    if edition().is_portable() {
        s.run("SELECT cache.clock()");
    }
}

/// Waits until something has come about, and panics where it does not within 30 seconds.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it did not come about that {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn portable_script(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/portable").join(name);
    std::fs::read_to_string(path).expect("the portable edition has been assembled")
}

/// Has pgrx build and install the extension with the code as it is.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        pgrx_tests::run_test("the_extension_installs", None, super::super::postgresql_conf_options())
            .expect("the extension is installed");
    });
}

fn binaries() -> PathBuf {
    static BINARIES: OnceLock<PathBuf> = OnceLock::new();
    let ask = || {
        let program = std::env::var("PG_CONFIG").unwrap_or_else(|_| "pg_config".to_owned());
        let output = Command::new(program).arg("--bindir").output().expect("pg_config runs");
        PathBuf::from(String::from_utf8(output.stdout).expect("UTF-8").trim())
    };
    BINARIES.get_or_init(ask).clone()
}

/// Runs a program as the user that servers run as. Panics where it fails.
fn as_server_user(program: &str, arguments: &[&str]) -> Output {
    let output = server_user_command(program).args(arguments).output().expect("the program starts");
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// A backtrace in every error's detail is not what users see, so servers start without the variable that asks for it.
fn server_user_command(program: &str) -> Command {
    let is_root = Path::new("/proc/self").metadata().is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let mut command = if is_root {
        let mut command = Command::new("runuser");
        command.args(["-u", SERVER_USER, "--", program]);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/").env_remove("RUST_BACKTRACE");
    command
}

unsafe extern "C" {
    /// Has a function called when the process ends. That of pgrx does it only where pgrx has started a server itself.
    fn atexit(callback: extern "C" fn()) -> std::ffi::c_int;
}

extern "C" fn stop_all() {
    let Ok(started) = STARTED.lock() else { return };
    // Standbys were started after their primaries, and go first.
    for dir in started.iter().rev() {
        let pg_ctl = binaries().join("pg_ctl");
        let mut stop = server_user_command(pg_ctl.to_str().unwrap_or("pg_ctl"));
        stop.args(["-m", "immediate", "-w", "stop", "-D"]).arg(dir.join("data")).output().ok();
        server_user_command("rm").arg("-rf").arg(dir).output().ok();
    }
}
