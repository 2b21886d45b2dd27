//! What goes into the model and what comes out: requests, answers, Azure's error bodies, and the
//! effects on the world outside. Must never: know how HTTP carries them.

use serde_json::{Map, Value, json};

use super::time::Millis;

/// The verbs that Resource Manager knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Read without the body.
    Head,
    /// Create or update.
    Put,
    /// Change some members.
    Patch,
    /// Act.
    Post,
    /// Remove.
    Delete,
}

impl Method {
    /// The verb as HTTP spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Post => "POST",
            Method::Delete => "DELETE",
        }
    }

    /// The verb from HTTP's spelling; `None` for one that Resource Manager does not know.
    pub fn parse(text: &str) -> Option<Method> {
        [Method::Get, Method::Head, Method::Put, Method::Patch, Method::Post, Method::Delete]
            .into_iter()
            .find(|method| method.as_str() == text)
    }
}

/// One call, already authenticated.
#[derive(Clone, Debug)]
pub struct Request {
    /// The verb.
    pub method: Method,
    /// Path, percent-decoded.
    pub path: String,
    /// Query members in order, decoded.
    pub query: Vec<(String, String)>,
    /// Body; `Null` when there was none.
    pub body: Value,
    /// Scheme, host and port under which the caller reaches us; links in answers start with it.
    pub base_url: String,
    /// Who asks: buckets of the front door are per principal.
    pub principal: String,
    /// Makes the operation that this call starts end with this error (fault injection).
    pub fail_operation: Option<ArmError>,
}

impl Request {
    /// A request without body, query or injected fault.
    pub fn new(method: Method, path: &str) -> Request {
        Request {
            method,
            path: path.to_owned(),
            query: Vec::new(),
            body: Value::Null,
            base_url: "https://management.azure.com".to_owned(),
            principal: "simulation".to_owned(),
            fail_operation: None,
        }
    }

    /// The same with a query member more.
    #[must_use]
    pub fn with_query(mut self, name: &str, value: &str) -> Request {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with a body.
    #[must_use]
    pub fn with_body(mut self, body: Value) -> Request {
        self.body = body;
        self
    }

    /// A query member by name; Azure compares these names without case.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Headers in the order in which they are sent.
    pub headers: Vec<(String, String)>,
    /// Body, if any.
    pub body: Option<Value>,
    /// What the call changed, in words for the log; `None` when nothing.
    pub effect: Option<String>,
    /// Template of the route, for counting calls.
    pub route: &'static str,
}

impl Response {
    /// An answer with a body.
    pub fn with_body(status: u16, body: Value) -> Response {
        Response { body: Some(body), ..Response::empty(status) }
    }

    /// An answer without a body.
    pub fn empty(status: u16) -> Response {
        Response { status, headers: Vec::new(), body: None, effect: None, route: "" }
    }

    /// The same with a header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Response {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The same with what it changed.
    #[must_use]
    pub fn effect(mut self, text: impl Into<String>) -> Response {
        self.effect = Some(text.into());
        self
    }

    /// The value of a header, compared without case.
    pub fn header_value(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// A refusal as Azure words it.
#[derive(Clone, Debug, PartialEq)]
pub struct ArmError {
    /// HTTP status when it answers a call; 409 when it only ends an operation.
    pub status: u16,
    /// Azure's error code.
    pub code: String,
    /// Azure's text.
    pub message: String,
    /// The member or resource that is meant.
    pub target: Option<String>,
    /// Inner errors.
    pub details: Vec<ArmError>,
    /// Seconds for a `Retry-After` header.
    pub retry_after_s: Option<u32>,
    /// Sent without the `error` envelope, as compute does when it throttles (FACTS §2).
    pub is_bare: bool,
}

impl ArmError {
    /// An error without target or details.
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> ArmError {
        ArmError {
            status,
            code: code.to_owned(),
            message: message.into(),
            target: None,
            details: Vec::new(),
            retry_after_s: None,
            is_bare: false,
        }
    }

    /// The same with the member that is meant.
    #[must_use]
    pub fn target(mut self, target: &str) -> ArmError {
        self.target = Some(target.to_owned());
        self
    }

    /// The inner object `{code, message, target?, details?}`.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("code".into(), json!(self.code));
        if let Some(target) = &self.target {
            object.insert("target".into(), json!(target));
        }
        object.insert("message".into(), json!(self.message));
        if !self.details.is_empty() {
            let details = self.details.iter().map(ArmError::to_json).collect();
            object.insert("details".into(), Value::Array(details));
        }
        Value::Object(object)
    }

    /// The whole answer: envelope and headers.
    pub fn to_response(&self) -> Response {
        let inner = self.to_json();
        let body = if self.is_bare { inner } else { json!({ "error": inner }) };
        let mut response =
            Response::with_body(self.status, body).header("x-ms-failure-cause", "gateway");
        if let Some(seconds) = self.retry_after_s {
            response = response.header("Retry-After", seconds.to_string());
        }
        response
    }

    /// An error from `{code, message}` or `{error: {…}}`; members that are missing get the words
    /// of an internal error.
    pub fn from_json(status: u16, body: &Value) -> ArmError {
        let inner = body.get("error").unwrap_or(body);
        let text = |name: &str, default: &str| {
            inner.get(name).and_then(Value::as_str).unwrap_or(default).to_owned()
        };
        let code = text("code", "InternalExecutionError");
        ArmError::new(status, &code, text("message", "An internal execution error occurred."))
    }
}

/// What a handler gives back. The error is boxed because it is large and rare.
pub type Answer = Result<Response, Box<ArmError>>;

/// What the world outside must do after a change of the model.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// A VM runs: start its boot command.
    Boot(Box<BootOrder>),
    /// A VM stops running: end its boot command and report with `Model::process_ended`.
    Stop {
        /// `vmId` of the VM.
        vm_id: String,
        /// Power is cut: no time to end in order.
        at_once: bool,
    },
}

/// Everything a boot command learns about its VM.
#[derive(Clone, Debug, PartialEq)]
pub struct BootOrder {
    /// `vmId`, unique over all time.
    pub vm_id: String,
    /// Resource id.
    pub id: String,
    /// Resource name.
    pub name: String,
    /// Name of the guest.
    pub computer_name: String,
    /// SKU name.
    pub size: String,
    /// Region.
    pub location: String,
    /// Resource group.
    pub resource_group: String,
    /// Tags as a JSON object.
    pub tags: Value,
    /// User data, decoded.
    pub user_data: String,
    /// First address of the primary NIC.
    pub address: String,
    /// When it reached running.
    pub at: Millis,
}
