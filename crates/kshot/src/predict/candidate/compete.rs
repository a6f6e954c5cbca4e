//! Which candidates compete: the methods with the features that they see; those of one look and scale share them.

use std::collections::HashMap;
use std::sync::Arc;

use kshot_data::mask::Mask;

use super::head::{HeadCandidate, SeenSupport};
use super::self_support::SelfSupportCandidate;
use super::{Candidate, CandidateContext, partly_labelled};
use crate::error::Result;
use crate::features::extract::Extractor;
use crate::features::look::Look;
use crate::method::few_shot::self_support::SelfSupport;
use crate::method::few_shot::{Effort, PixelMethod, SegmentationMethod};
use crate::predict::fit::FitOptions;
use crate::predict::folds::HeldOutBy;
use crate::predict::scale::ObjectSizes;
use crate::predict::select::Partner;
use crate::predict::views::{self, TestView};

/// How much larger pictures are shown to the probe a second time; smaller where that would be very large.
const OTHER_SCALE: f32 = 1.5;
const LARGEST: f32 = 2.0;
/// Self-support is left out where its grid shows less of the masks: vessels a tenth, the smallest nuclei a third, streets
/// with their poles six tenths.
const RESOLVED: f64 = 0.3;
/// Its share where masks of several classes are in one picture only: no whole picture can be held out, and blocks flatter
/// what learns its pixels. A single class, or strokes, are its own: on draws of six kinds of pictures, of which no figure is
/// reported, it alone had half as much right again as what blocks chose.
const SEVERAL_CLASSES: f64 = 0.5;

/// The candidates.
pub struct Competing<'a> {
    /// Those to be judged.
    pub candidates: Vec<Box<dyn Candidate + 'a>>,
    /// The one that bears pictures that are unlike the labelled ones, where there is one.
    pub partner: Option<Partner>,
}

/// All candidates of some methods.
///
/// # Errors
/// If a picture has no pixels.
pub fn competing<'a>(
    extractor: &Extractor,
    context: &CandidateContext<'a>,
    options: &FitOptions,
    held_out: HeldOutBy,
) -> Result<Competing<'a>> {
    let mut heads = Heads::new(extractor, context, options);
    let comparing = options.methods.iter().find_map(|method| match method {
        PixelMethod::SelfSupport(method) => Some(method),
        PixelMethod::Head(_) => None,
    });
    let partner = match comparing {
        Some(method) if heads.alone => Some((heads.comparing(method)?, 1.0)),
        Some(method) => heads.partner(method)?,
        None => None,
    };
    let near = match held_out {
        HeldOutBy::Pictures => None,
        HeldOutBy::Blocks if context.planes == 2 || heads.partly => Some(1.0),
        HeldOutBy::Blocks => Some(SEVERAL_CLASSES),
    };
    let mut candidates: Vec<Box<dyn Candidate + 'a>> = Vec::new();
    if partner.is_none() || near != Some(1.0) {
        for method in &options.methods {
            if let PixelMethod::Head(head) = method {
                candidates.extend(heads.of(head.as_ref())?);
            }
        }
    }
    let partner = partner.map(|(candidate, resolved)| {
        candidates.push(candidate);
        Partner { candidate: candidates.len() - 1, near, resolved }
    });
    Ok(Competing { candidates, partner })
}

/// Makes heads, which share features, and self-support.
struct Heads<'o, 'a> {
    extractor: &'o Extractor,
    context: &'o CandidateContext<'a>,
    options: &'o FitOptions,
    sizes: ObjectSizes,
    partly: bool,
    /// Whether a single method was asked for.
    alone: bool,
    seen: HashMap<(Look, u32), Arc<SeenSupport>>,
}

impl<'o, 'a> Heads<'o, 'a> {
    fn new(
        extractor: &'o Extractor,
        context: &'o CandidateContext<'a>,
        options: &'o FitOptions,
    ) -> Self {
        Self {
            extractor,
            context,
            options,
            sizes: ObjectSizes::of(context.support),
            partly: partly_labelled(context.support),
            alone: options.methods.len() == 1,
            seen: HashMap::new(),
        }
    }

    /// A method at each of its scales; none where it does not suit the labels.
    fn of(&mut self, method: &dyn SegmentationMethod) -> Result<Vec<Box<dyn Candidate + 'a>>> {
        if !self.alone && self.partly && method.needs_masks() {
            return Ok(Vec::new());
        }
        let mut scales = vec![self.scale(method)];
        // What one size misses another shows: their mean errs less than either.
        let quick = self.options.effort == Effort::Fast;
        if method.likes_scales() && !quick && !self.alone && !self.partly {
            let larger = scales[0] * OTHER_SCALE;
            scales.push(if larger <= LARGEST { larger } else { scales[0] / OTHER_SCALE });
        }
        let candidate = |scale| Ok(Box::new(self.head(method, scale)?) as Box<dyn Candidate>);
        scales.into_iter().map(candidate).collect()
    }

    fn look(&self, method: &dyn SegmentationMethod) -> Look {
        if self.partly { Look::STROKES } else { method.look() }
    }

    fn scale(&self, method: &dyn SegmentationMethod) -> f32 {
        let sized = match self.look(method) {
            Look::PIXELS => self.sizes.pixels(),
            Look::FILTERS => self.sizes.filters(),
            _ => self.sizes.coarse(),
        };
        self.options.scale.unwrap_or(sized)
    }

    fn head(&mut self, method: &dyn SegmentationMethod, scale: f32) -> Result<HeadCandidate> {
        let seen = self.seen(self.look(method), scale)?;
        let method = suited(method, self.partly, self.options.effort);
        Ok(HeadCandidate::new(method, seen, self.context))
    }

    /// The labelled pictures by a look at a scale.
    fn seen(&mut self, look: Look, scale: f32) -> Result<Arc<SeenSupport>> {
        if let Some(seen) = self.seen.get(&(look, scale.to_bits())) {
            return Ok(Arc::clone(seen));
        }
        let views: &[TestView] = if self.partly { &views::MANY } else { &views::FEW };
        let sees = self.extractor.clone().with_look(look);
        let fitting = sees.clone().with_precision(self.extractor.precision().in_32_bits());
        let encoded = self
            .seen
            .iter()
            .find(|((_, bits), of)| *bits == scale.to_bits() && of.has_all_stages());
        let new = Arc::new(match encoded {
            Some((_, other)) if look.stride > 0 => other.with_look(self.context, [&fitting, &sees]),
            _ => SeenSupport::new(self.context, [&fitting, &sees], scale, views)?,
        });
        self.seen.insert((look, scale.to_bits()), Arc::clone(&new));
        Ok(new)
    }

    fn comparing(&self, method: &SelfSupport) -> Result<Box<dyn Candidate + 'a>> {
        let exact = self.extractor.precision().in_32_bits();
        let extractor = self.extractor.clone().with_precision(exact);
        Ok(Box::new(SelfSupportCandidate::new(method, &extractor, self.context)?))
    }

    /// Self-support where its grid shows enough of the masks, and how much; strokes do not tell.
    fn partner(&self, method: &SelfSupport) -> Result<Option<(Box<dyn Candidate + 'a>, f64)>> {
        if self.partly {
            return Ok(Some((self.comparing(method)?, 1.0)));
        }
        let masks: Vec<&Mask> = self.context.support.pictures.iter().map(|of| &of.mask).collect();
        let shown = SelfSupportCandidate::resolves(method, &masks, self.context.planes);
        Ok(if shown >= RESOLVED { Some((self.comparing(method)?, shown)) } else { None })
    }
}

/// The version of a method that suits strokes or the effort, where it has one.
fn suited(
    method: &dyn SegmentationMethod,
    partly: bool,
    effort: Effort,
) -> Box<dyn SegmentationMethod> {
    let version = match effort {
        _ if partly => method.for_strokes(),
        Effort::Best => method.for_best(),
        _ => None,
    };
    version.unwrap_or_else(|| method.boxed())
}
