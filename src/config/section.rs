//! The macro that declares a section of the configuration. It makes the comments of the settings available at run time, for
//! `sealjar config --explain` and the reference.

/// Declares a section as a struct with fields that are public in the crate. The comment of the struct is also in the
/// constant `ABOUT`, and the comments of the fields in `MEANINGS`.
macro_rules! section {
    ($(#[doc = $about:literal])* $name:ident { $($(#[doc = $line:literal])* $field:ident: $field_type:ty,)* }) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name {
            $($(#[doc = $line])* pub(crate) $field: $field_type,)*
        }

        impl $name {
            /// The lines of the section's comment.
            const ABOUT: &[&str] = &[$($about),*];
            /// The names of the fields, each with the lines of its comment.
            const MEANINGS: &[(&str, &[&str])] = &[$((stringify!($field), &[$($line),*])),*];
        }
    };
}
pub(super) use section;
