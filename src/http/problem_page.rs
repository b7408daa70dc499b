//! The pages of types of problem. Anyone may read them.

use poem::{Response, Result, handler, http::header, web::Path};

use crate::{
    app::AppError,
    http::{
        problem::Refusal,
        problem_type::{ProblemKind, all, named},
    },
};

/// The page of a type, or of all types, in HTML.
fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<h1>{title}</h1>\n{body}\n</html>\n"
    )
}

fn answer(html: String) -> Response {
    Response::builder()
        .content_type("text/html; charset=utf-8")
        .header(header::CACHE_CONTROL, "public, max-age=3600")
        .header(header::CONTENT_SECURITY_POLICY, "default-src 'none'")
        .body(html)
}

/// `GET /problems/{name}`: what a type of problem means and what to do.
#[handler]
pub fn show(Path(name): Path<String>) -> Result<Response> {
    let ProblemKind { status, kind } =
        named(&name).ok_or_else(|| Refusal::from(AppError::NotFound("type of problem")))?;
    let body = format!(
        "<p>{}</p>\n<p>HTTP status {status}, type <code>/problems/{}</code>. <a href=\"/problems\">All types</a></p>",
        kind.advice, kind.name
    );
    Ok(answer(page(kind.title, &body)))
}

/// `GET /problems`: all types.
#[handler]
pub fn list() -> Response {
    let line = |it: &ProblemKind| {
        format!("<dt><a href=\"/problems/{0}\">{0}</a> ({1})</dt><dd>{2}</dd>", it.kind.name, it.status, it.kind.title)
    };
    let lines: Vec<String> = all().iter().map(line).collect();
    answer(page("Types of problem", &format!("<dl>\n{}\n</dl>", lines.join("\n"))))
}
