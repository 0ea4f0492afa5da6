//! The talk with `guest/agent.sh`: length-framed, so any bytes pass.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::Outcome;

/// What a script in the machine came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The exit code; 128 and more for a signal, as the shell tells it.
    pub(super) status: i32,
    /// Standard output.
    pub(super) stdout: Vec<u8>,
    /// Standard error.
    pub(super) stderr: Vec<u8>,
}

/// The line with which an answer begins: status and the two lengths.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    status: i32,
    stdout: usize,
    stderr: usize,
}

impl Header {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("DONE ")?.split(' ');
        let header = Self { status: words.next()?.parse().ok()?, stdout: words.next()?.parse().ok()?, stderr: words.next()?.parse().ok()? };
        words.next().is_none().then_some(header)
    }
}

/// The stream and what was read from it but not yet used.
pub(super) struct Wire {
    stream: UnixStream,
    pending: Vec<u8>,
}

impl Wire {
    /// The stream must have a read time-out, so that reading can be given up.
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, pending: vec![] }
    }

    /// How long [`Wire::receive`] waits.
    pub(super) fn patience(&self, limit: Duration) -> Outcome<()> {
        self.stream.set_read_timeout(Some(limit)).map_err(|error| format!("the agent's port: {error}"))
    }

    /// Sends a script.
    pub(super) fn send(&mut self, script: &str) -> Outcome<()> {
        let message = format!("{}\n{script}", script.len());
        self.stream.write_all(message.as_bytes()).map_err(|error| format!("the agent's port: {error}"))
    }

    /// The boot id of an agent that has just begun, skipping whatever came before.
    pub(super) fn ready(&mut self) -> Option<String> {
        while let Some(line) = self.line() {
            if let Some(boot_id) = line.strip_prefix("READY ") {
                return Some(boot_id.to_owned());
            }
        }
        None
    }

    /// The answer to the script sent last, once all of it is there.
    pub(super) fn answer(&mut self) -> Outcome<Option<Answer>> {
        let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') else {
            return Ok(None);
        };
        let line = String::from_utf8_lossy(self.pending.get(..end).unwrap_or_default());
        let Some(header) = Header::parse(&line) else {
            return Err(format!("the agent said `{line}`: did the machine restart by itself?"));
        };
        let middle = end + 1 + header.stdout;
        let Some(stdout) = self.pending.get(end + 1..middle) else {
            return Ok(None);
        };
        let Some(stderr) = self.pending.get(middle..middle + header.stderr) else {
            return Ok(None);
        };
        let answer = Answer { status: header.status, stdout: stdout.to_vec(), stderr: stderr.to_vec() };
        self.pending.drain(..middle + header.stderr);
        Ok(Some(answer))
    }

    /// Waits, no longer than the stream's time-out, for more to read.
    pub(super) fn receive(&mut self) -> Outcome<()> {
        let mut buffer = [0; 65536];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err("QEMU closed the agent's port".into()),
            Ok(length) => {
                self.pending.extend(buffer.get(..length).unwrap_or_default());
                Ok(())
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Ok(()),
                _ => Err(format!("the agent's port: {error}")),
            },
        }
    }

    fn line(&mut self) -> Option<String> {
        let end = self.pending.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.pending.drain(..=end).collect();
        Some(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Wire, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        (Wire::new(near), far)
    }

    #[test]
    fn answer_waits_for_its_last_byte() {
        let (mut wire, mut far) = pair();
        far.write_all(b"DONE 3 4 2\nab\n\0").unwrap();
        wire.receive().unwrap();
        assert_eq!(wire.answer(), Ok(None));
        far.write_all(b"xyDONE").unwrap();
        wire.receive().unwrap();
        let answer = wire.answer().unwrap().unwrap();
        assert_eq!(answer.status, 3);
        assert_eq!(answer.stdout, b"ab\n\0");
        assert_eq!(answer.stderr, b"xy");
        assert_eq!(wire.pending, b"DONE");
    }

    #[test]
    fn what_a_dying_system_said_is_skipped() {
        let (mut wire, mut far) = pair();
        far.write_all(b"DONE 0 0 0\n\xff\nREADY 12-34\nDONE").unwrap();
        wire.receive().unwrap();
        assert_eq!(wire.ready().as_deref(), Some("12-34"));
        assert_eq!(wire.ready(), None);
    }

    #[test]
    fn restart_in_the_middle_is_an_error() {
        let (mut wire, mut far) = pair();
        far.write_all(b"READY 12-34\n").unwrap();
        wire.receive().unwrap();
        assert!(wire.answer().unwrap_err().contains("READY 12-34"));
        for line in ["DONE", "DONE 1 2", "DONE 1 2 3 4", "DONE 1 -2 3", "done 1 2 3"] {
            assert_eq!(Header::parse(line), None, "{line}");
        }
    }

    #[test]
    fn closed_port_is_an_error() {
        let (mut wire, far) = pair();
        drop(far);
        assert!(wire.receive().is_err());
    }
}
