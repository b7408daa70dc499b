//! Who is responsible for the data (GDPR Art. 4(7)).

/// The controller, as receipts and certificates name them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Controller {
    pub name: String,
    /// How to reach them: a postal or e-mail address.
    pub contact: Option<String>,
    /// The country whose law applies to them: ISO 3166-1 alpha-2, such as `DE`.
    pub jurisdiction: Option<String>,
    /// Where the data is stored and processed: countries or data centres.
    pub locations: Vec<String>,
}
