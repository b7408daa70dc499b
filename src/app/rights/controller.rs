//! Who is responsible for the data (GDPR Art. 4(7)).

/// Who is responsible for the data (GDPR Art. 4(7)), as receipts and certificates name them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Controller {
    /// The name.
    pub name: String,
    /// How to reach them: an address, by letter or e-mail.
    pub contact: Option<String>,
    /// Under whose law they are: ISO 3166-1 alpha-2, such as `DE`.
    pub jurisdiction: Option<String>,
    /// Where the data is stored and processed: countries or data centres.
    pub locations: Vec<String>,
}
