use super::{take_out, without_words};

const GRUB: &str = "/etc/default/grub";
const LIST: &str = "/etc/initramfs-tools/modules";
const OWN: &str = "/etc/default/grub.d/95-cede.cfg";

/// File, before, ours, now, and what is to be left; `None` for a clash.
type Case = (&'static str, &'static str, &'static str, &'static str, Option<&'static str>);

const LINE: &str = "A=1\nX=\"quiet\"\nB=2\n";
const OURS: &str = "A=1\nX=\"quiet intel_iommu=on vfio-pci.ids=1:2,3:4\"\nB=2\n";

const CASES: &[Case] = &[
    // Elsewhere in the file.
    (GRUB, LINE, OURS, "A=1\nX=\"quiet intel_iommu=on vfio-pci.ids=1:2,3:4\"\nB=2\nC=3\n", Some("A=1\nX=\"quiet\"\nB=2\nC=3\n")),
    (GRUB, LINE, OURS, "X=\"quiet intel_iommu=on vfio-pci.ids=1:2,3:4\"\nB=5\n", Some("X=\"quiet\"\nB=5\n")),
    // Words in the same line.
    (
        GRUB,
        LINE,
        OURS,
        "A=1\nX=\"quiet splash intel_iommu=on vfio-pci.ids=1:2,3:4 foo\"\nB=2\n",
        Some("A=1\nX=\"quiet splash foo\"\nB=2\n"),
    ),
    (GRUB, LINE, OURS, "A=1\nX=\"intel_iommu=on vfio-pci.ids=1:2,3:4\"\nB=2\n", Some("A=1\nX=\"\"\nB=2\n")),
    (GRUB, LINE, OURS, "A=1\nX=\"quiet vfio-pci.ids=1:2,3:4\"\nB=2\n", Some("A=1\nX=\"quiet\"\nB=2\n")),
    (GRUB, LINE, OURS, "A=1\nX=\"quiet intel_iommu=on vfio-pci.ids=1:2,3:4,5:6\"\nB=2\n", Some("A=1\nX=\"quiet vfio-pci.ids=5:6\"\nB=2\n")),
    (GRUB, LINE, OURS, "A=1\nX=\"quiet intel_iommu=on vfio-pci.ids=3:4\"\nB=2\n", Some("A=1\nX=\"quiet\"\nB=2\n")),
    (GRUB, LINE, OURS, "A=1\nX=\"intel_iommu=on vfio-pci.ids=1:2,3:4 quiet\"\nB=2\n", Some("A=1\nX=\"quiet\"\nB=2\n")),
    (GRUB, LINE, OURS, "A=1\nX='quiet intel_iommu=on vfio-pci.ids=1:2,3:4'\nB=2\n", Some("A=1\nX='quiet'\nB=2\n")),
    // Both the line and one below it.
    (GRUB, LINE, OURS, "A=1\nX=\"loud intel_iommu=on vfio-pci.ids=1:2,3:4\"\nY=3\nB=2\n", Some("A=1\nX=\"loud\"\nY=3\nB=2\n")),
    // The line is gone.
    (GRUB, LINE, OURS, "A=1\nB=2\n", Some("A=1\nB=2\n")),
    // Whose last line end was taken away, or given.
    ("/etc/kernel/cmdline", "root=a quiet\n", "root=a quiet intel_iommu=on\n", "root=a quiet intel_iommu=on", Some("root=a quiet")),
    ("/etc/kernel/cmdline", "root=a quiet", "root=a quiet intel_iommu=on", "root=a quiet intel_iommu=on\n", Some("root=a quiet\n")),
    (GRUB, "A=1\nX=\"quiet\"\n", "A=1\nX=\"quiet intel_iommu=on\"\n", "A=2\nX=\"quiet intel_iommu=on\"", Some("A=2\nX=\"quiet\"")),
    // Moved away, with our words in it.
    (GRUB, LINE, OURS, "X=\"loud intel_iommu=on vfio-pci.ids=1:2,3:4\"\nA=1\nB=2\n", None),
    // Our word was changed.
    (GRUB, LINE, OURS, "A=1\nX=\"quiet intel_iommu=on,sm_on vfio-pci.ids=1:2,3:4\"\nB=2\n", None),
    // An empty value.
    (GRUB, "X=\"\"\n", "X=\"intel_iommu=on\"\n", "X=\"a intel_iommu=on b\"\n", Some("X=\"a b\"\n")),
    (GRUB, "X=\"\"\n", "X=\"intel_iommu=on\"\n", "X=\"intel_iommu=on b\"\n", Some("X=\"b\"\n")),
    // A word that we took out comes back.
    (
        GRUB,
        "X=\"intel_iommu=off quiet\"\n",
        "X=\"quiet intel_iommu=on\"\n",
        "X=\"quiet splash intel_iommu=on\"\n",
        Some("X=\"intel_iommu=off quiet splash\"\n"),
    ),
    (GRUB, "X=\"intel_iommu=off quiet\"\n", "X=\"quiet\"\n", "", None),
    // Ids that were there before stay.
    (
        GRUB,
        "X=\"vfio-pci.ids=9:9 a\"\n",
        "X=\"vfio-pci.ids=9:9,1:2 a\"\n",
        "X=\"vfio-pci.ids=9:9,1:2,7:7 a b\"\n",
        Some("X=\"vfio-pci.ids=9:9,7:7 a b\"\n"),
    ),
    // A list: lines in between, after, before, ours removed in part.
    (LIST, "a\n", "a\nvfio_pci\nvfio\n", "a\nvfio_pci\nb\nvfio\nc\n", Some("a\nb\nc\n")),
    (LIST, "a\n", "a\nvfio_pci\nvfio\n", "z\na\nvfio\n", Some("z\na\n")),
    (LIST, "a\n", "a\nvfio_pci\nvfio\n", "vfio_pci\nvfio\na\n", Some("a\n")),
    (LIST, "a\n", "a\nvfio_pci\nvfio\n", "a\nvfio_pci ids=1:2\nvfio\n", None),
    // The last line had no end; what comes after it needs one.
    (LIST, "a", "a\nvfio\n", "a\nvfio\nb\n", Some("a\nb\n")),
    (LIST, "a", "a\nvfio\n", "z\na\nvfio\n", Some("z\na")),
    (LIST, "a", "a\nvfio\n", "A\nvfio\n", Some("A")),
    (LIST, "a\nb\n", "a\nb\nvfio\n", "a\nb\nvfio", Some("a\nb\n")),
    // Line ends are others' business.
    (LIST, "a\nb\n", "a\nb\nvfio\n", "a\r\nb\r\nvfio\r\nc\r\n", Some("a\r\nb\r\nc\r\n")),
    (LIST, "a\r\nb\r\n", "a\r\nb\r\nvfio\r\n", "a\r\nx\r\nb\r\nvfio\r\n", Some("a\r\nx\r\nb\r\n")),
    // A file of our own that others wrote into.
    (
        OWN,
        "",
        "# ours\nX=\"$X intel_iommu=on vfio-pci.ids=1:2\"\n",
        "# ours\nX=\"$X intel_iommu=on vfio-pci.ids=1:2 foo\"\n",
        Some("X=\"$X foo\"\n"),
    ),
    (
        OWN,
        "",
        "# ours\nX=\"$X intel_iommu=on vfio-pci.ids=1:2\"\n",
        "# ours\nX=\"$X intel_iommu=on vfio-pci.ids=1:2\"\nY=1\n",
        Some("Y=1\n"),
    ),
    (OWN, "", "# ours\nX=\"$X intel_iommu=on vfio-pci.ids=1:2\"\n", "# ours\nX=\"$X vfio-pci.ids=1:2\"\n", Some("")),
    (
        "/etc/mkinitcpio.conf.d/95-cede.conf",
        "",
        "\n# ours\nMODULES=(vfio_pci vfio \"${MODULES[@]}\")\n",
        "\n# ours\nMODULES=(vfio_pci vfio btrfs \"${MODULES[@]}\")\n",
        Some("MODULES=(btrfs \"${MODULES[@]}\")\n"),
    ),
    (
        "/etc/mkinitcpio.conf",
        "MODULES=(btrfs)\n",
        "MODULES=(vfio_pci vfio btrfs)\n",
        "MODULES=(vfio_pci vfio ext4 btrfs)\n",
        Some("MODULES=(ext4 btrfs)\n"),
    ),
    ("/etc/mkinitcpio.conf", "MODULES=()\n", "MODULES=(vfio_pci vfio)\n", "MODULES=(vfio_pci vfio ext4)\n", Some("MODULES=(ext4)\n")),
    (
        "/etc/mkinitcpio.conf",
        "MODULES=(\n a\n)\n",
        "MODULES=(\n vfio\n a\n)\n",
        "MODULES=(\n vfio\n a\n b\n)\n",
        Some("MODULES=(\n a\n b\n)\n"),
    ),
    (
        "/etc/modprobe.d/00-cede.conf",
        "",
        "# ours\noptions vfio-pci ids=1:2\n",
        "# ours\noptions vfio-pci ids=1:2,3:4 disable_vga=1\n",
        Some("options vfio-pci ids=3:4 disable_vga=1\n"),
    ),
    (
        "/etc/modprobe.d/00-cede.conf",
        "",
        "# ours\nsoftdep nouveau pre: vfio-pci\n",
        "# mine\nsoftdep nouveau pre: vfio-pci drm\n",
        Some("# mine\nsoftdep nouveau pre: drm\n"),
    ),
    (
        "/boot/loader/entries/a.conf",
        "title A\noptions root=1\n",
        "title A\noptions root=1 intel_iommu=on\n",
        "title B\noptions root=1 intel_iommu=on rw\n",
        Some("title B\noptions root=1 rw\n"),
    ),
    ("/etc/kernel/cmdline", "root=1 quiet\n", "root=1 quiet intel_iommu=on\n", "root=2 quiet intel_iommu=on", Some("root=2 quiet")),
];

#[test]
fn ours_goes_and_theirs_stays() {
    let mut wrong = Vec::new();
    for (path, before, ours, now, expected) in CASES {
        let got = take_out(path, before.as_bytes(), ours.as_bytes(), now.as_bytes());
        let got = got.ok().map(|bytes| String::from_utf8(bytes).unwrap());
        if got.as_deref() != *expected {
            wrong.push(format!("{path}: {now:?}: {got:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn bytes_that_are_no_text_stay() {
    let (before, ours) = (b"\xff\0a\nX=\"\xfe\"\n".as_slice(), b"\xff\0a\nX=\"\xfe b=1\"\n".as_slice());
    assert_eq!(take_out(LIST, before, ours, b"\xff\0\nX=\"\xfe \xfd b=1\"\n").unwrap(), b"\xff\0\nX=\"\xfe \xfd\"\n");
}

#[test]
fn a_clash_names_its_lines() {
    let clash = take_out(LIST, b"a\n", b"a\nvfio\n", b"a\nvfio x=1\n").unwrap_err();
    assert_eq!((clash.line, clash.before.as_slice(), clash.ours.as_slice()), (Some(2), b"".as_slice(), b"vfio\n".as_slice()));
}

#[test]
fn words_go_wherever_they_stand() {
    let ours = ["intel_iommu=on", "vfio-pci.ids=1:2"].map(|word| word.as_bytes().to_vec());
    for (line, left) in [
        ("root=a quiet vfio-pci.ids=1:2 intel_iommu=on", "root=a quiet"),
        ("intel_iommu=on  root=a vfio-pci.ids=5:6,1:2 x=\"a b\"", "root=a vfio-pci.ids=5:6 x=\"a b\""),
        ("root=a intel_iommu=on,sm_on", "root=a intel_iommu=on,sm_on"),
        ("intel_iommu=on", ""),
    ] {
        assert_eq!(String::from_utf8(without_words(line.as_bytes(), &ours)).unwrap(), left);
    }
}
