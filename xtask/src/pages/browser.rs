//! Chromium without a screen, spoken to over a pipe (DevTools protocol: JSON messages that end in a NUL).

use super::Result;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// It reads requests from descriptor 3 and writes to descriptor 4; a browser that hangs ends after ten minutes.
const START: &str = "exec timeout 600 chromium --headless=new --no-sandbox --disable-gpu --hide-scrollbars --no-first-run --disable-extensions \
    --disable-background-networking --disable-component-update --disable-dev-shm-usage --user-data-dir=\"$1/profile\" --remote-debugging-pipe \
    about:blank 3<&0 4>&1 </dev/null >/dev/null 2>\"$1/chromium.log\"";

/// A browser with one page.
pub(super) struct Browser {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    session: Option<String>,
    number: u64,
    events: Vec<Value>,
}

/// How a page is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looks {
    pub(super) width: u32,
    /// `light` or `dark`.
    pub(super) scheme: &'static str,
    /// `print`, or nothing for the screen.
    pub(super) media: &'static str,
}

impl Browser {
    pub(super) fn start(dir: &Path) -> Result<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", START, "sh"]).arg(dir).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let (requests, answers) = (child.stdin.take().ok_or("no pipe")?, child.stdout.take().ok_or("no pipe")?);
        let mut browser = Self { child, requests, answers: BufReader::new(answers), session: None, number: 0, events: Vec::new() };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}))?;
        let attached = browser.call("Target.attachToTarget", json!({"targetId": target.get("targetId"), "flatten": true}))?;
        browser.session = attached.get("sessionId").and_then(Value::as_str).map(str::to_owned);
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}))?;
        }
        Ok(browser)
    }

    /// Opens a page anew and waits until it is there.
    pub(super) fn open(&mut self, page: &Path, looks: Looks) -> Result<()> {
        let mobile = looks.width < 600;
        let metrics = json!({"width": looks.width, "height": 900, "deviceScaleFactor": 1, "mobile": mobile});
        self.call("Emulation.setDeviceMetricsOverride", metrics)?;
        let features = json!([{"name": "prefers-color-scheme", "value": looks.scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"media": looks.media, "features": features}))?;
        self.events.clear();
        let answer = self.call("Page.navigate", json!({"url": format!("file://{}", page.display())}))?;
        if let Some(error) = answer.get("errorText") {
            return Err(format!("{}: {error}", page.display()).into());
        }
        while !self.events.iter().any(|event| method(event) == "Page.loadEventFired") {
            let message = self.read()?;
            self.events.push(message);
        }
        Ok(())
    }

    /// What the page answers.
    pub(super) fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let answer = self.call("Runtime.evaluate", json!({"expression": expression, "returnByValue": true}))?;
        match answer.get("exceptionDetails") {
            Some(details) => Err(details.to_string().into()),
            None => Ok(answer.pointer("/result/value").cloned().unwrap_or_default()),
        }
    }

    /// Requests to elsewhere, and messages of the console, since the page was opened.
    pub(super) fn noticed(&self, page: &Path) -> Vec<String> {
        let own = format!("file://{}", page.display());
        let told = |event: &Value| match method(event) {
            "Network.requestWillBeSent" => {
                let url = event.pointer("/params/request/url").and_then(Value::as_str).unwrap_or_default();
                (url.split('#').next() != Some(own.as_str())).then(|| format!("asks for {url}"))
            }
            "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded" => Some(format!("console: {event}")),
            _ => None,
        };
        self.events.iter().filter_map(told).collect()
    }

    /// The whole page as a picture.
    pub(super) fn picture(&mut self, file: &Path) -> Result<()> {
        let answer = self.call("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": true}))?;
        decode(answer.get("data").and_then(Value::as_str).unwrap_or_default(), file)
    }

    /// The page on paper, in base64.
    pub(super) fn print(&mut self, file: Option<&Path>) -> Result<String> {
        let size = json!({"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": false});
        let answer = self.call("Page.printToPDF", size)?;
        let data = answer.get("data").and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(file) = file {
            decode(&data, file)?;
        }
        Ok(data)
    }

    /// Everything that answers to a click is reached with the tabulator, shows that, and a list opens with Enter.
    pub(super) fn keyboard(&mut self) -> Result<Vec<String>> {
        self.call("Page.bringToFront", json!({}))?;
        self.call("Emulation.setFocusEmulationEnabled", json!({"enabled": true}))?;
        let count = self.evaluate("document.querySelectorAll('a,summary').length")?.as_u64().unwrap_or(0);
        let mut reached = 0;
        let mut complaints = Vec::new();
        for _ in 0..count {
            self.key("Tab", 9)?;
            let seen =
                "(e => e === document.body ? null : [getComputedStyle(e).outlineStyle !== 'none', e.tagName])(document.activeElement)";
            let seen = self.evaluate(seen)?;
            reached += u64::from(!seen.is_null());
            if seen.get(0) == Some(&Value::Bool(false)) {
                complaints.push("keyboard: what has the focus does not show it".to_owned());
            }
            if seen.get(1).and_then(Value::as_str) == Some("SUMMARY") {
                self.key("Enter", 13)?;
                if self.evaluate("document.activeElement.parentElement.open")? != Value::Bool(true) {
                    complaints.push("keyboard: a list does not open".to_owned());
                }
                self.key("Enter", 13)?;
            }
        }
        if reached != count {
            complaints.push(format!("keyboard: {reached} of {count} reached"));
        }
        complaints.dedup();
        Ok(complaints)
    }

    pub(super) fn close(mut self) -> Result<()> {
        self.session = None;
        self.call("Browser.close", json!({}))?;
        self.child.wait()?;
        Ok(())
    }

    fn key(&mut self, key: &str, code: u8) -> Result<()> {
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
            self.call("Input.dispatchKeyEvent", event)?;
        }
        Ok(())
    }

    fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.number += 1;
        let mut request = json!({"id": self.number, "method": method, "params": params});
        if let (Some(session), Some(request)) = (&self.session, request.as_object_mut()) {
            request.insert("sessionId".to_owned(), json!(session));
        }
        self.requests.write_all(format!("{request}\0").as_bytes())?;
        self.requests.flush()?;
        loop {
            let message = self.read()?;
            if message.get("id").and_then(Value::as_u64) != Some(self.number) {
                self.events.push(message);
                continue;
            }
            return match message.get("error") {
                Some(error) => Err(format!("{method}: {error}").into()),
                None => Ok(message.get("result").cloned().unwrap_or_default()),
            };
        }
    }

    fn read(&mut self) -> Result<Value> {
        let mut bytes = Vec::new();
        self.answers.read_until(0, &mut bytes)?;
        if bytes.pop() != Some(0) {
            return Err("the browser is gone: see chromium.log beside the pages (--keep DIR)".into());
        }
        Ok(serde_json::from_slice(&bytes)?)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // After `close` it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn method(event: &Value) -> &str {
    event.get("method").and_then(Value::as_str).unwrap_or_default()
}

/// Writes base64 to a file as what it stands for.
fn decode(text: &str, file: &Path) -> Result<()> {
    let mut child = Command::new("base64").arg("-d").stdin(Stdio::piped()).stdout(File::create(file)?).spawn()?;
    child.stdin.take().ok_or("no pipe")?.write_all(text.as_bytes())?;
    if child.wait()?.success() { Ok(()) } else { Err("what the browser sent is no base64".into()) }
}
