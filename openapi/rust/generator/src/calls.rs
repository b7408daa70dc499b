//! Writes one function that calls any operation by its name, with arguments that are found by name: what other languages
//! do by reflection. `tests/sdk/walk.rs` compiles it.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    GenericArgument, ImplItem, ImplItemFn, Item, ItemImpl, PathArguments, ReturnType, Type, TypeParamBound,
    WherePredicate,
};

/// The function `call`, made of the methods of the client and of the builders that they return.
pub fn calls(client: &syn::File) -> TokenStream {
    let builders = client.items.iter().find_map(|item| match item {
        Item::Mod(module) if module.ident == "builder" => module.content.as_ref(),
        _ => None,
    });
    let (_, builders) = builders.expect("the client has builders");
    let arms: Vec<TokenStream> = methods(&client.items, "Client")
        .filter_map(|method| {
            let builder = builder_of(method)?;
            let function = &method.sig.ident;
            let operation = function.to_string();
            let setters = methods(builders, &builder).filter_map(|setter| {
                let (name, value) = (&setter.sig.ident, converted_type(setter)?);
                // `type_` is the argument `type`.
                let argument = name.to_string().trim_end_matches('_').to_owned();
                // A body of bytes stands in the file of calls as text.
                let value = match value {
                    GenericArgument::Type(body) if last_name(body).is_some_and(|it| it == "Body") => quote!(String),
                    value => quote!(#value),
                };
                Some(quote! {
                    let call = match arguments.take::<#value>(#argument) {
                        Some(value) => call.#name(value),
                        None => call,
                    };
                })
            });
            Some(quote! {
                #operation => {
                    let call = client.#function();
                    #(#setters)*
                    outcome(call.send().await)
                }
            })
        })
        .collect();
    let count = arms.len();
    quote! {
        use lethe_client::{Client, types};

        use crate::{Arguments, Outcome, outcome};

        /// How many operations the client has.
        pub const OPERATIONS: usize = #count;

        /// Calls an operation. Panics if the client has none of this name.
        pub async fn call(client: &Client, operation: &str, arguments: &mut Arguments) -> Outcome {
            match operation {
                #(#arms)*
                _ => panic!("the client has no operation {operation}"),
            }
        }
    }
}

/// The methods of a type's own `impl` blocks.
fn methods<'a>(items: &'a [Item], name: &'a str) -> impl Iterator<Item = &'a ImplItemFn> {
    let own = move |of: &ItemImpl| of.trait_.is_none() && last_name(&of.self_ty).is_some_and(|it| it == name);
    items
        .iter()
        .filter_map(move |item| match item {
            Item::Impl(of) if own(of) => Some(of.items.iter()),
            _ => None,
        })
        .flatten()
        .filter_map(|item| match item {
            ImplItem::Fn(function) => Some(function),
            _ => None,
        })
}

/// The builder that a method of the client returns; `None` for methods that call no operation.
fn builder_of(method: &ImplItemFn) -> Option<String> {
    let ReturnType::Type(_, returned) = &method.sig.output else { return None };
    let Type::Path(path) = &**returned else { return None };
    let is_builder = path.path.segments.first().is_some_and(|module| module.ident == "builder");
    is_builder.then(|| last_name(returned)).flatten()
}

/// The type `T` of a setter `fn name<V>(self, value: V) where V: TryInto<T>`; `None` for other methods.
fn converted_type(setter: &ImplItemFn) -> Option<&GenericArgument> {
    let conditions = setter.sig.generics.where_clause.as_ref()?.predicates.iter();
    conditions.filter_map(bound).find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else { return None };
        let conversion = bound.path.segments.last().filter(|name| name.ident == "TryInto")?;
        let PathArguments::AngleBracketed(target) = &conversion.arguments else { return None };
        target.args.first()
    })
}

fn bound(condition: &WherePredicate) -> Option<&TypeParamBound> {
    let WherePredicate::Type(condition) = condition else { return None };
    condition.bounds.first()
}

fn last_name(of: &Type) -> Option<String> {
    let Type::Path(path) = of else { return None };
    path.path.segments.last().map(|segment| segment.ident.to_string())
}
