//! Declares the sections of the configuration, so that the comment of a setting is also its documentation.

/// Declares a section. Its comment is kept as `ABOUT`, and the comments of its fields as `MEANINGS`. The fields are public in the
/// crate.
macro_rules! section {
    ($(#[doc = $about:literal])* $name:ident { $($(#[doc = $line:literal])* $field:ident: $kind:ty,)* }) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name {
            $($(#[doc = $line])* pub(crate) $field: $kind,)*
        }

        impl $name {
            /// The lines of the section's comment.
            const ABOUT: &[&str] = &[$($about),*];
            /// Each field with the lines of its comment.
            const MEANINGS: &[(&str, &[&str])] = &[$((stringify!($field), &[$($line),*])),*];
        }
    };
}
pub(super) use section;
