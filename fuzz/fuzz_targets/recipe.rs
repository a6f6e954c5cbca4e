//! A recipe: read, checked, written and read again.
#![no_main]

use kshot::recipe::Recipe;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let path = "recipe.toml".as_ref();
    let Ok(recipe) = Recipe::parse(text, path, &[]) else { return };
    let again = recipe.to_toml().expect("a recipe has a form in TOML");
    assert!(Recipe::parse(&again, path, &[]).is_ok(), "{again}");
});
