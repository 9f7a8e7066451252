//! Declares the sections of the configuration, so that a setting's comment is also what documents say of it.

/// Declares a section. Its fields are public in the crate, and their comments are kept as `MEANINGS`.
macro_rules! section {
    ($(#[$attribute:meta])* $name:ident { $($(#[doc = $line:literal])* $field:ident: $kind:ty,)* }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name {
            $($(#[doc = $line])* pub(crate) $field: $kind,)*
        }

        impl $name {
            /// Each field with the lines of its comment.
            const MEANINGS: &[(&str, &[&str])] = &[$((stringify!($field), &[$($line),*])),*];
        }
    };
}
pub(super) use section;
