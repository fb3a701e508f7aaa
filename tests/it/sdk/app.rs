//! An application with a real SDK, as a process that is told what to do line by line
//! (`tests/sdk/app.py`, `tests/sdk/app.mjs`).

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::world::{API_KEY, PATIENCE, World};

/// A real SDK, and the style it is used in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sdk {
    /// The newest stripe-python: `stripe.Charge.create`.
    PythonModule,
    /// The newest stripe-python: `StripeClient`.
    PythonClient,
    /// stripe-python 7.
    Python7,
    /// The newest stripe-node.
    Node,
}

impl Sdk {
    pub(crate) const ALL: [Self; 4] =
        [Self::PythonModule, Self::PythonClient, Self::Python7, Self::Node];

    fn command(self) -> Command {
        let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests");
        let python = |env: &str, style: &str| {
            let program = tests.join(".tools").join(env).join("bin/python");
            assert!(program.exists(), "{} is missing: ./tests/run installs it", program.display());
            let mut command = Command::new(program);
            command.arg(tests.join("sdk/app.py")).arg(style);
            command
        };
        match self {
            Self::PythonModule => python("python-newest", "module"),
            Self::PythonClient => python("python-newest", "client"),
            Self::Python7 => python("python-7", "module"),
            Self::Node => {
                let package = tests.join("sdk/node_modules/stripe");
                let missing = format!("{} is missing: ./tests/run installs it", package.display());
                assert!(package.exists(), "{missing}");
                let mut command = Command::new("node");
                command.arg(tests.join("sdk/app.mjs")).arg("node");
                command
            }
        }
    }
}

/// What an SDK raised.
#[derive(Debug)]
pub(crate) struct Raised {
    /// The error's class, by its name in stripe-python.
    pub(crate) class: String,
    /// The HTTP status, 0 if there was none.
    pub(crate) status: u64,
    /// `error.code`, empty if there was none.
    pub(crate) code: String,
    /// What a person reads.
    pub(crate) message: String,
}

/// A running application.
pub(crate) struct App {
    pub(crate) sdk: Sdk,
    child: Child,
    orders: ChildStdin,
    results: Lines<BufReader<ChildStdout>>,
}

impl App {
    pub(crate) fn start(sdk: Sdk, world: &World) -> Self {
        Self::start_at(sdk, &world.base(), API_KEY, world.dir.path())
    }

    /// One whose API base is anywhere.
    pub(crate) fn start_at(sdk: Sdk, base: &str, api_key: &str, home: &Path) -> Self {
        let mut child = sdk
            .command()
            .args([base, api_key])
            // SDKs leave an id in the home directory.
            .env("HOME", home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{sdk:?} cannot be started: {error}"));
        let orders = child.stdin.take().unwrap();
        let results = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { sdk, child, orders, results }
    }

    /// Tells it to call the SDK, and does not wait.
    pub(crate) async fn begin(&mut self, call: &Call) {
        let order = format!("{}\n", call.0);
        self.orders.write_all(order.as_bytes()).await.unwrap();
    }

    /// What the call that was begun came to.
    pub(crate) async fn result(&mut self) -> Result<Value, Raised> {
        let line = tokio::time::timeout(PATIENCE, self.results.next_line()).await;
        let line = line.expect("no result for a minute").unwrap();
        let result: Value = serde_json::from_str(&line.expect("the application ended")).unwrap();
        let error = &result["error"];
        if error.is_null() {
            return Ok(result["ok"].clone());
        }
        let class = error["type"].as_str().unwrap().to_owned();
        let (status, message) =
            (error["status"].as_u64().unwrap_or(0), error["message"].to_string());
        let code = error["code"].as_str().unwrap_or_default().to_owned();
        Err(Raised { class, status, code, message })
    }

    pub(crate) async fn call(&mut self, call: &Call) -> Result<Value, Raised> {
        self.begin(call).await;
        self.result().await
    }

    /// A call that must succeed.
    pub(crate) async fn done(&mut self, call: &Call) -> Value {
        let sdk = self.sdk;
        self.call(call).await.unwrap_or_else(|raised| panic!("{sdk:?} {}: {raised:?}", call.0))
    }

    /// A call that must fail with this class of error and status.
    pub(crate) async fn fails(&mut self, call: &Call, class: &str, status: u64) {
        let raised = self.call(call).await.expect_err("the call succeeded");
        assert_eq!((raised.class.as_str(), raised.status), (class, status), "{:?}", self.sdk);
    }

    /// SIGKILL, in the middle of whatever it does. At the end of a test it closes the connections,
    /// so that payonce need not wait to know what was delivered.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// One call of an SDK.
#[derive(Clone, Debug)]
pub(crate) struct Call(Value);

impl Call {
    /// `charges.create` and its parameters.
    pub(crate) fn new(method: &str, params: Value) -> Self {
        let mut call = json!({ "call": method });
        call["params"] = params;
        Self(call)
    }

    /// The same on this object.
    pub(crate) fn of(mut self, id: &Value) -> Self {
        self.0["id"] = json!(id);
        self
    }

    /// The same, and the sandbox is told what is meant.
    pub(crate) fn intent(mut self, intent: &str) -> Self {
        self.0["intent"] = json!(intent);
        self
    }

    /// The same with a key of the application.
    pub(crate) fn own_key(mut self, key: &str) -> Self {
        self.0["key"] = json!(key);
        self
    }

    /// The same, named by the application for payonce.
    pub(crate) fn named(mut self, operation: &str) -> Self {
        self.0["operation"] = json!(operation);
        self
    }

    /// The same with so many retries by the SDK.
    pub(crate) fn retries(mut self, retries: u32) -> Self {
        self.0["retries"] = json!(retries);
        self
    }
}
