//! What HTTP servers answer, who have promised nothing about its length.

/// The body of an answer. The error is a sentence without a subject: the server broke off, or said more than `limit` bytes.
pub(crate) async fn body(mut response: reqwest::Response, limit: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| chain(&error))? {
        if body.len() + chunk.len() > limit {
            return Err(format!("it said more than {limit} bytes and was cut off"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// An error with its causes; reqwest's own text leaves them out.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
