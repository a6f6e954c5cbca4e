//! Whose details a decoder has, where implementations that people have weights of differ.

/// As the paper has it, or as segmentation_models_pytorch builds it, whose files fit the latter.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// As in the paper.
    #[default]
    Paper,
    /// As in segmentation_models_pytorch, for its files.
    Smp,
}

impl Layout {
    /// Whether logits are resized such that the corners' centres meet.
    pub(super) fn aligns_corners(self) -> bool {
        self == Self::Smp
    }
}
