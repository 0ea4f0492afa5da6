//! The plan as JSON: `cede.plan/1`. What `cede plan --json` prints, `--out` saves, `apply --plan` reads, and the journal keeps.

use super::condition::Service;
use super::{Condition, Expectation, Plan, Refusal, RestsOn, Step, When, step};
use crate::guard::Loss;
use crate::intent::{BindMethod, Identity};
use crate::runtime::Attribute;
use base64::{Engine, engine::general_purpose::STANDARD};
use cede_model::pci::{PciAddress, PciClass, PciId, SlotPath};
use serde::{Deserialize, Serialize};

/// The format's name and version.
pub const PLAN_FORMAT: &str = "cede.plan/1";

/// Why a text is no plan.
#[derive(Debug, thiserror::Error)]
pub enum NotAPlan {
    /// No JSON, or a field is missing or of another type.
    #[error("not a plan: {0}")]
    Json(#[from] serde_json::Error),
    /// Another format.
    #[error("the format is `{0}`, not `{PLAN_FORMAT}`: make the file with `cede plan ADDR --out FILE`")]
    OtherFormat(String),
    /// A value that the plan cannot have.
    #[error("not a plan: {0}")]
    Value(String),
}

/// `cede.plan/1`.
#[derive(Debug, Serialize, Deserialize)]
pub struct PlanFile {
    format: String,
    devices: Vec<String>,
    steps: Vec<StepFile>,
    expects: Vec<ExpectationFile>,
    refused: Vec<RefusalFile>,
    bind: BindMethod,
    #[serde(default)]
    accepted: Vec<String>,
    #[serde(default)]
    identities: Vec<IdentityFile>,
    #[serde(default)]
    stays: Vec<String>,
    #[serde(default)]
    notes: Vec<String>,
    #[serde(default)]
    rests_on: Vec<RestsOnFile>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum StepFile {
    ReplaceFile {
        path: String,
        before: Option<String>,
        after: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before_base64: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after_base64: Option<String>,
    },
    RunTool {
        argv: Vec<String>,
        why: String,
    },
    CopyImage {
        from: String,
        to: String,
    },
    RemoveImage {
        path: String,
    },
    WriteAttribute {
        path: String,
        before: Option<String>,
        after: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct ExpectationFile {
    when: WhenFile,
    what: String,
    condition: ConditionFile,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WhenFile {
    Now,
    AfterReboot,
    OnRelease,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum ConditionFile {
    FileIs { path: String, sha256: Option<String> },
    ImageHasModule { image: String, kernel: Option<String>, module: String },
    ImageHasFile { image: String, path: String, sha256: String },
    ImageLoads { image: String, module: String },
    EntriesCarry { parameter: String },
    EntriesLack { parameter: String },
    MenuStarts { kernels: Vec<String> },
    ImageLacksFile { image: String, path: String },
    ImageOpens { image: String },
    RunningWith { parameter: String },
    RunningWithout { parameter: String },
    IommuOn,
    BoundTo { device: IdentityFile, driver: String },
    NotOn { device: IdentityFile, driver: String },
    GroupsWhole { devices: Vec<String> },
    Serves { device: IdentityFile, service: String },
    HasVirtualFunctions { device: IdentityFile, count: u32 },
    NoTwinTaken { devices: Vec<IdentityFile> },
}

#[derive(Debug, Serialize, Deserialize)]
struct RefusalFile {
    id: String,
    message: String,
    /// True for a loss that `--accept-loss` with the id takes upon itself.
    #[serde(default)]
    acceptable: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct RestsOnFile {
    path: String,
    sha256: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct IdentityFile {
    address: String,
    vendor: String,
    device: String,
    subsystem_vendor: Option<String>,
    subsystem_device: Option<String>,
    class: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    serial: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slot: Option<String>,
}

/// Writes a plan as JSON, indented, with a line end.
pub fn render(plan: &Plan) -> String {
    let mut text = serde_json::to_string_pretty(&PlanFile::from(plan)).unwrap_or_default();
    text.push('\n');
    text
}

/// Reads a plan that [`render`] wrote.
///
/// # Errors
/// [`NotAPlan`] says what is wrong.
pub fn parse(text: &str) -> Result<Plan, NotAPlan> {
    Plan::try_from(serde_json::from_str::<PlanFile>(text)?)
}

impl From<&Plan> for PlanFile {
    fn from(plan: &Plan) -> Self {
        Self {
            format: PLAN_FORMAT.to_owned(),
            devices: plan.devices.iter().map(|d| d.address.to_string()).collect(),
            steps: plan.steps.iter().map(StepFile::from).collect(),
            expects: plan.expects.iter().map(ExpectationFile::from).collect(),
            refused: plan.refused.iter().map(RefusalFile::from).collect(),
            bind: plan.bind,
            accepted: plan.accepted.iter().map(|loss| loss.id().to_owned()).collect(),
            identities: plan.devices.iter().map(IdentityFile::from).collect(),
            stays: strings(&plan.stays),
            notes: plan.notes.clone(),
            rests_on: plan.rests_on.iter().map(|f| RestsOnFile { path: f.path.clone(), sha256: f.sha256.clone() }).collect(),
        }
    }
}

impl TryFrom<PlanFile> for Plan {
    type Error = NotAPlan;

    fn try_from(file: PlanFile) -> Result<Self, NotAPlan> {
        if file.format != PLAN_FORMAT {
            return Err(NotAPlan::OtherFormat(file.format));
        }
        Ok(Self {
            devices: file.identities.iter().map(Identity::try_from).collect::<Result<_, _>>()?,
            bind: file.bind,
            accepted: file.accepted.iter().map(|id| accepted(id)).collect::<Result<_, _>>()?,
            stays: addresses(&file.stays)?,
            steps: file.steps.into_iter().map(Step::try_from).collect::<Result<_, _>>()?,
            expects: file.expects.into_iter().map(Expectation::try_from).collect::<Result<_, _>>()?,
            // A refused plan has no steps and is never carried out, so the reason's stable name need not be kept apart.
            refused: file.refused.into_iter().map(|r| Refusal::new("refused", r.message)).collect(),
            notes: file.notes,
            rests_on: file.rests_on.into_iter().map(|f| RestsOn { path: f.path, sha256: f.sha256 }).collect(),
        })
    }
}

impl From<&Refusal> for RefusalFile {
    fn from(refusal: &Refusal) -> Self {
        Self { id: refusal.id.to_owned(), message: refusal.message.clone(), acceptable: Loss::parse(refusal.id).is_some() }
    }
}

fn accepted(id: &str) -> Result<Loss, NotAPlan> {
    Loss::parse(id).ok_or_else(|| NotAPlan::Value(format!("`{id}` is no loss that can be accepted")))
}

/// Text, or base64 where the bytes are not UTF-8; both `None` where there is no file.
fn encode(bytes: Option<&Vec<u8>>) -> (Option<String>, Option<String>) {
    match bytes.map(|bytes| String::from_utf8(bytes.clone())) {
        None => (None, None),
        Some(Ok(text)) => (Some(text), None),
        Some(Err(error)) => (None, Some(STANDARD.encode(error.as_bytes()))),
    }
}

fn decode(text: Option<String>, base64: Option<String>) -> Result<Option<Vec<u8>>, NotAPlan> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(NotAPlan::Value("a file is given both as text and as base64".into())),
        (Some(text), None) => Ok(Some(text.into_bytes())),
        (None, Some(base64)) => STANDARD.decode(base64).map(Some).map_err(|error| NotAPlan::Value(error.to_string())),
        (None, None) => Ok(None),
    }
}

impl From<&Step> for StepFile {
    fn from(step: &Step) -> Self {
        match step {
            Step::ReplaceFile { path, before, after } => {
                let ((before, before_base64), (after, after_base64)) = (encode(before.as_ref()), encode(after.as_ref()));
                Self::ReplaceFile { path: path.clone(), before, after, before_base64, after_base64 }
            }
            Step::RunTool { argv, why } => Self::RunTool { argv: argv.clone(), why: why.clone() },
            Step::CopyImage { from, to } => Self::CopyImage { from: from.clone(), to: to.clone() },
            Step::RemoveImage { path } => Self::RemoveImage { path: path.clone() },
            Step::WriteAttribute { path, before, after } => {
                Self::WriteAttribute { path: path.clone(), before: before.clone(), after: after.clone() }
            }
        }
    }
}

impl TryFrom<StepFile> for Step {
    type Error = NotAPlan;

    fn try_from(step: StepFile) -> Result<Self, NotAPlan> {
        match step {
            StepFile::ReplaceFile { path, .. } | StepFile::RemoveImage { path } if !step::may_write(&path) => Err(outside(&path)),
            StepFile::CopyImage { from, .. } if !step::may_write(&from) => Err(outside(&from)),
            StepFile::CopyImage { to, .. } if !step::may_write(&to) => Err(outside(&to)),
            StepFile::ReplaceFile { path, before, after, before_base64, after_base64 } => {
                Ok(Self::ReplaceFile { path, before: decode(before, before_base64)?, after: decode(after, after_base64)? })
            }
            StepFile::CopyImage { from, to } => Ok(Self::CopyImage { from, to }),
            StepFile::RemoveImage { path } => Ok(Self::RemoveImage { path }),
            StepFile::WriteAttribute { path, before, after } if Attribute::parse(&path).is_some() => {
                Ok(Self::WriteAttribute { path, before, after })
            }
            StepFile::WriteAttribute { path, .. } => Err(NotAPlan::Value(format!("`{path}` is no attribute that cede writes"))),
            StepFile::RunTool { argv, why } if step::may_run(&argv) => Ok(Self::RunTool { argv, why }),
            StepFile::RunTool { argv, .. } => {
                Err(NotAPlan::Value(format!("{argv:?} is none of the tools that cede runs ({})", step::TOOLS.join(", "))))
            }
        }
    }
}

fn outside(path: &str) -> NotAPlan {
    NotAPlan::Value(format!("`{path}` is not below /etc, /boot or /efi: cede does not write there"))
}

impl From<&Expectation> for ExpectationFile {
    fn from(expectation: &Expectation) -> Self {
        let when = match expectation.when {
            When::Now => WhenFile::Now,
            When::AfterReboot => WhenFile::AfterReboot,
            When::OnRelease => WhenFile::OnRelease,
        };
        Self { when, what: expectation.what.to_string(), condition: ConditionFile::from(&expectation.what) }
    }
}

impl TryFrom<ExpectationFile> for Expectation {
    type Error = NotAPlan;

    fn try_from(file: ExpectationFile) -> Result<Self, NotAPlan> {
        let when = match file.when {
            WhenFile::Now => When::Now,
            WhenFile::AfterReboot => When::AfterReboot,
            WhenFile::OnRelease => When::OnRelease,
        };
        Ok(Self { when, what: Condition::try_from(file.condition)? })
    }
}

impl From<&Condition> for ConditionFile {
    fn from(condition: &Condition) -> Self {
        match condition.clone() {
            Condition::FileIs { path, sha256 } => Self::FileIs { path, sha256 },
            Condition::ImageHasModule { image, kernel, module } => Self::ImageHasModule { image, kernel, module },
            Condition::ImageHasFile { image, path, sha256 } => Self::ImageHasFile { image, path, sha256 },
            Condition::ImageLoads { image, module } => Self::ImageLoads { image, module },
            Condition::EntriesCarry { parameter } => Self::EntriesCarry { parameter },
            Condition::EntriesLack { parameter } => Self::EntriesLack { parameter },
            Condition::ImageLacksFile { image, path } => Self::ImageLacksFile { image, path },
            Condition::ImageOpens { image } => Self::ImageOpens { image },
            Condition::MenuStarts { kernels } => Self::MenuStarts { kernels },
            Condition::RunningWith { parameter } => Self::RunningWith { parameter },
            Condition::RunningWithout { parameter } => Self::RunningWithout { parameter },
            Condition::IommuOn => Self::IommuOn,
            Condition::BoundTo { device, driver } => Self::BoundTo { device: IdentityFile::from(&device), driver },
            Condition::NotOn { device, driver } => Self::NotOn { device: IdentityFile::from(&device), driver },
            Condition::GroupsWhole { devices } => Self::GroupsWhole { devices: strings(&devices) },
            Condition::Serves { device, service } => {
                Self::Serves { device: IdentityFile::from(&device), service: service.name().to_owned() }
            }
            Condition::HasVirtualFunctions { device, count } => Self::HasVirtualFunctions { device: IdentityFile::from(&device), count },
            Condition::NoTwinTaken { devices } => Self::NoTwinTaken { devices: devices.iter().map(IdentityFile::from).collect() },
        }
    }
}

impl TryFrom<ConditionFile> for Condition {
    type Error = NotAPlan;

    fn try_from(file: ConditionFile) -> Result<Self, NotAPlan> {
        Ok(match file {
            ConditionFile::FileIs { path, sha256 } => Self::FileIs { path, sha256 },
            ConditionFile::ImageHasModule { image, kernel, module } => Self::ImageHasModule { image, kernel, module },
            ConditionFile::ImageHasFile { image, path, sha256 } => Self::ImageHasFile { image, path, sha256 },
            ConditionFile::ImageLoads { image, module } => Self::ImageLoads { image, module },
            ConditionFile::EntriesCarry { parameter } => Self::EntriesCarry { parameter },
            ConditionFile::EntriesLack { parameter } => Self::EntriesLack { parameter },
            ConditionFile::ImageLacksFile { image, path } => Self::ImageLacksFile { image, path },
            ConditionFile::ImageOpens { image } => Self::ImageOpens { image },
            ConditionFile::MenuStarts { kernels } => Self::MenuStarts { kernels },
            ConditionFile::RunningWith { parameter } => Self::RunningWith { parameter },
            ConditionFile::RunningWithout { parameter } => Self::RunningWithout { parameter },
            ConditionFile::IommuOn => Self::IommuOn,
            ConditionFile::BoundTo { device, driver } => Self::BoundTo { device: Identity::try_from(&device)?, driver },
            ConditionFile::NotOn { device, driver } => Self::NotOn { device: Identity::try_from(&device)?, driver },
            ConditionFile::GroupsWhole { devices } => Self::GroupsWhole { devices: addresses(&devices)? },
            ConditionFile::Serves { device, service } => {
                let known = Service::ALL.into_iter().find(|one| one.name() == service);
                let service = known.ok_or_else(|| NotAPlan::Value(format!("`{service}` is nothing that a function serves")))?;
                Self::Serves { device: Identity::try_from(&device)?, service }
            }
            ConditionFile::HasVirtualFunctions { device, count } => {
                Self::HasVirtualFunctions { device: Identity::try_from(&device)?, count }
            }
            ConditionFile::NoTwinTaken { devices } => {
                Self::NoTwinTaken { devices: devices.iter().map(Identity::try_from).collect::<Result<_, _>>()? }
            }
        })
    }
}

impl From<&Identity> for IdentityFile {
    fn from(identity: &Identity) -> Self {
        let hex = |value: u16| format!("{value:04x}");
        Self {
            address: identity.address.to_string(),
            vendor: hex(identity.id.vendor),
            device: hex(identity.id.device),
            subsystem_vendor: identity.subsystem.map(|s| hex(s.vendor)),
            subsystem_device: identity.subsystem.map(|s| hex(s.device)),
            class: identity.class.map(|class| class.to_string()),
            serial: identity.serial.map(|serial| serial.to_string()),
            slot: identity.slot.as_ref().map(ToString::to_string),
        }
    }
}

impl TryFrom<&IdentityFile> for Identity {
    type Error = NotAPlan;

    fn try_from(file: &IdentityFile) -> Result<Self, NotAPlan> {
        let number = |text: &str| u32::from_str_radix(text, 16).map_err(|_| NotAPlan::Value(format!("`{text}` is no id")));
        let half = |text: &str| number(text).and_then(|n| u16::try_from(n).map_err(|_| NotAPlan::Value(format!("`{text}` is no id"))));
        let subsystem = match (&file.subsystem_vendor, &file.subsystem_device) {
            (Some(vendor), Some(device)) => Some(PciId { vendor: half(vendor)?, device: half(device)? }),
            _ => None,
        };
        Ok(Self {
            address: file.address.parse().map_err(|error| NotAPlan::Value(format!("{error}")))?,
            id: PciId { vendor: half(&file.vendor)?, device: half(&file.device)? },
            subsystem,
            class: file.class.as_deref().map(number).transpose()?.map(PciClass),
            serial: file.serial.as_deref().map(|text| text.parse().map_err(|error| NotAPlan::Value(format!("{error}")))).transpose()?,
            slot: file.slot.as_deref().map(SlotPath::from_text),
        })
    }
}

fn strings(addresses: &[PciAddress]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

fn addresses(texts: &[String]) -> Result<Vec<PciAddress>, NotAPlan> {
    texts.iter().map(|text| text.parse().map_err(|error| NotAPlan::Value(format!("{error}")))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_the_way_through_json() {
        let device = Identity {
            address: "01:00.0".parse().unwrap(),
            id: PciId { vendor: 0x10de, device: 0x1f91 },
            subsystem: None,
            class: Some(PciClass(0x030000)),
            serial: "68-05-ca-ff-ff-12-34-56".parse().ok(),
            slot: Some(SlotPath::from_text("0000:00:01.0/00.0")),
        };
        let plan = Plan {
            devices: vec![device.clone()],
            stays: vec!["00:01.0".parse().unwrap()],
            steps: vec![
                Step::ReplaceFile { path: "/etc/x".into(), before: Some(b"caf\xe9".to_vec()), after: Some("café\n".into()) },
                Step::ReplaceFile { path: "/etc/y".into(), before: None, after: Some(Vec::new()) },
                Step::RunTool { argv: vec!["/usr/bin/mkinitcpio".into(), "-P".into()], why: "images".into() },
                Step::CopyImage { from: "/boot/initrd.img-6.1".into(), to: "/boot/efi/id/6.1/initrd.img-6.1".into() },
                Step::RemoveImage { path: "/boot/cede-trial.img".into() },
            ],
            expects: vec![
                Expectation::now(Condition::EntriesCarry { parameter: "intel_iommu=on".into() }),
                Expectation::after_reboot(Condition::BoundTo { device, driver: "vfio-pci".into() }),
            ],
            accepted: vec![Loss::Swap, Loss::Console],
            notes: vec!["foretold".into()],
            rests_on: vec![RestsOn { path: "/etc/x".into(), sha256: None }],
            ..Plan::default()
        };
        assert_eq!(parse(&render(&plan)).unwrap(), plan);
        let json: serde_json::Value = serde_json::from_str(&render(&plan)).unwrap();
        assert_eq!(json["steps"][0]["before"], serde_json::Value::Null);
        assert_eq!(json["steps"][0]["before_base64"], "Y2Fm6Q==");
        assert_eq!((json["expects"][1]["when"].as_str(), json["devices"][0].as_str()), (Some("after_reboot"), Some("0000:01:00.0")));
    }

    #[test]
    fn plans_without_serial_number_and_slot_are_read() {
        let old = r#"{"format":"cede.plan/1","devices":["0000:01:00.0"],"steps":[],"expects":[],"refused":[],"bind":"cmdline",
            "identities":[{"address":"0000:01:00.0","vendor":"10de","device":"1f91","subsystem_vendor":null,"subsystem_device":null,"class":"030000"}]}"#;
        let plan = parse(old).unwrap();
        assert_eq!((plan.devices[0].serial, plan.devices[0].slot.clone()), (None, None));
        assert!(!render(&plan).contains("serial"), "what is not known is not written");
    }

    #[test]
    fn what_is_no_plan_says_so() {
        for (text, problem) in [
            ("", "not a plan"),
            ("{}", "missing field"),
            (r#"{"format":"cede.plan/9","devices":[],"steps":[],"expects":[],"refused":[],"bind":"cmdline"}"#, "cede plan ADDR --out"),
            (
                r#"{"format":"cede.plan/1","devices":[],"steps":[{"kind":"run_tool","argv":["sh"],"why":""}],"expects":[],"refused":[],"bind":"cmdline"}"#,
                "none of the tools",
            ),
            (
                r#"{"format":"cede.plan/1","devices":[],"steps":[],"expects":[],"refused":[],"bind":"cmdline","accepted":["all"]}"#,
                "`all` is no loss",
            ),
            (
                r#"{"format":"cede.plan/1","devices":[],"steps":[{"kind":"copy_image","from":"/boot/a","to":"/boot/../b"}],"expects":[],"refused":[],"bind":"cmdline"}"#,
                "not below /etc",
            ),
            (
                r#"{"format":"cede.plan/1","devices":[],"steps":[{"kind":"copy_image","from":"/root/a","to":"/boot/b"}],"expects":[],"refused":[],"bind":"cmdline"}"#,
                "not below /etc",
            ),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
