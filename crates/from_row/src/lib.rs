//! `#[derive(FromRow)]`: reads a row of PostgreSQL into a struct, each field by its name, and spells the list of columns once, so
//! that the statement that selects them and the code that reads them cannot differ.
//!
//! A field is read from the column of its own name. Attributes of a field change that:
//!
//! - `#[row(sql = "payload::text")]` selects an expression, under the field's name;
//! - `#[row(with = RecordId)]` passes the column's value through a function or a constructor;
//! - `#[row(flatten)]` reads a nested struct, which derives `FromRow` too, from the same row.
//!
//! Refuses, when it compiles, what is no struct with named fields.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::{Data, DeriveInput, Error, Field, Fields, LitStr, Path, parse_macro_input};

/// Implements `db::FromRow`.
#[proc_macro_derive(FromRow, attributes(row))]
pub fn derive(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    implement(&input).unwrap_or_else(Error::into_compile_error).into()
}

/// What the attributes of a field say.
#[derive(Default)]
struct Attributes {
    sql: Option<LitStr>,
    with: Option<Path>,
    flatten: bool,
}

fn implement(input: &DeriveInput) -> syn::Result<Tokens> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(input, "only a struct can be read from a row"));
    };
    let Fields::Named(fields) = &data.fields else { return Err(Error::new_spanned(input, "the fields need names")) };
    let (mut columns, mut reads) = (Vec::new(), Vec::new());
    for field in &fields.named {
        let (name, kind, attributes) = (&field.ident, &field.ty, attributes_of(field)?);
        let text = name.as_ref().map(ToString::to_string).unwrap_or_default();
        if attributes.flatten {
            columns.push(quote!(<#kind as ::db::FromRow>::COLUMNS));
            reads.push(quote!(#name: <#kind as ::db::FromRow>::from_row(row)));
            continue;
        }
        let column = attributes.sql.map_or_else(|| text.clone(), |sql| format!("{} AS {text}", sql.value()));
        columns.push(quote!(#column));
        reads.push(match attributes.with {
            Some(with) => quote!(#name: #with(row.get(#text))),
            None => quote!(#name: row.get(#text)),
        });
    }
    let separated =
        columns.iter().enumerate().map(|(at, column)| if at == 0 { quote!(#column) } else { quote!(", ", #column) });
    let name = &input.ident;
    Ok(quote! {
        impl ::db::FromRow for #name {
            const COLUMNS: &'static str = ::db::sql!(#(#separated),*);

            fn from_row(row: &::db::Row) -> Self {
                Self { #(#reads),* }
            }
        }
    })
}

fn attributes_of(field: &Field) -> syn::Result<Attributes> {
    let mut attributes = Attributes::default();
    for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("row")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("sql") {
                attributes.sql = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("with") {
                attributes.with = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("flatten") {
                attributes.flatten = true;
            } else {
                return Err(meta.error("expected `sql`, `with` or `flatten`"));
            }
            Ok(())
        })?;
    }
    Ok(attributes)
}
