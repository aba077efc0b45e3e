//! The part of CalDAV that listing calendars and events, and making events, needs.

use base64::Engine;
use http::header::{AUTHORIZATION, HeaderName, IF_NONE_MATCH};
use http::{Method, StatusCode};

use super::Config;
use crate::clock::Moment;
use crate::net::{Ask, Net, NetError, Reply, Url};
use crate::surroundings::Surroundings;
use crate::text::{one_line, shorten};
use crate::tool::{ToolError, after_effect};

/// The largest answer of a server, in bytes.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Calendars of one account.
const CALENDARS_MAX: usize = 100;
/// Characters of a name.
const NAME_CHARS_MAX: usize = 200;

const DAV: &str = "DAV:";
const CALDAV: &str = "urn:ietf:params:xml:ns:caldav";
const DEPTH: HeaderName = HeaderName::from_static("depth");

const PROPS: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?><d:propfind xmlns:d=\"DAV:\" xmlns:c=\"urn:ietf:params:xml:ns:caldav\" \
                     xmlns:a=\"http://apple.com/ns/ical/\"><d:prop><d:resourcetype/><d:displayname/><d:current-user-principal/>\
                     <c:calendar-home-set/><a:calendar-color/><d:current-user-privilege-set/><c:supported-calendar-component-set/></d:prop>\
                     </d:propfind>";

/// The account.
pub(super) struct Dav<'a> {
    pub(super) net: &'a Net,
    pub(super) around: &'a Surroundings,
    pub(super) config: &'a Config,
    pub(super) base: &'a Url,
}

/// One calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Calendar {
    pub(super) url: Url,
    pub(super) name: String,
    pub(super) colour: Option<String>,
    /// Whether the server says that events may be added; `None` when it does not say.
    pub(super) writable: Option<bool>,
}

/// What a server says of one place.
#[derive(Debug, Default)]
struct Place {
    url: Option<Url>,
    is_calendar: bool,
    /// It holds events, not only tasks or notes.
    has_events: bool,
    name: String,
    colour: Option<String>,
    writable: Option<bool>,
    home: Option<String>,
    principal: Option<String>,
}

/// What came of making an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    Now,
    Before,
}

impl Dav<'_> {
    /// Credentials go to the configured server and to hosts that the owner lists, whatever a server says.
    fn check(&self, url: Url) -> Result<Url, ToolError> {
        let listed = |rule: &String| rule.split([':', '/', ',']).next().is_some_and(|host| host.eq_ignore_ascii_case(&url.host));
        if url.is_same_origin(self.base) || (url.secure && self.config.hosts.iter().any(listed)) {
            return Ok(url);
        }
        let why = format!("the calendar server leads to {}, which is not among the hosts under [plugins.calendar]", url.origin());
        Err(ToolError::Remote(why))
    }

    fn ask(&self, method: &str, url: &Url) -> Result<Ask, ToolError> {
        let secret = self.around.credential("password")?;
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| ToolError::Remote("no such method".to_owned()))?;
        let authorization = match self.config.user.as_deref().filter(|_| !self.config.bearer()) {
            Some(user) => format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{secret}"))),
            None => format!("Bearer {secret}"),
        };
        Ok(Ask::new(method, url.clone()).header(AUTHORIZATION, &authorization)?)
    }

    /// Sends a question in XML and gives the answer's text.
    async fn xml(&self, method: &str, url: &Url, depth: &str, body: String) -> Result<String, ToolError> {
        let mut at = url.clone();
        for _ in 0..3 {
            let ask = self.ask(method, &at)?.header(DEPTH, depth)?.body("application/xml; charset=utf-8", body.clone());
            let reply = self.net.send(ask).await?;
            // Servers send clients from a well-known place to the right one.
            if let (true, Some(location)) = (reply.status.is_redirection(), reply.header(&http::header::LOCATION)) {
                at = self.check(at.join(location).map_err(NetError::from)?)?;
                continue;
            }
            let reply = ok(reply, StatusCode::MULTI_STATUS).await?;
            let bytes = reply.bytes(ANSWER_BYTES_MAX).await?;
            return String::from_utf8(bytes).map_err(|_| ToolError::Remote("the calendar server's answer is not UTF-8".to_owned()));
        }
        Err(ToolError::Remote("the calendar server leads in a circle".to_owned()))
    }

    async fn places(&self, url: &Url, depth: &str) -> Result<Vec<Place>, ToolError> {
        let text = self.xml("PROPFIND", url, depth, PROPS.to_owned()).await?;
        let document = parse(&text)?;
        let responses = document.descendants().filter(|n| n.has_tag_name((DAV, "response")));
        Ok(responses.map(|response| place(&response, url)).collect())
    }

    /// The calendars: the configured one, or those of the account's home.
    pub(super) async fn calendars(&self) -> Result<Vec<Calendar>, ToolError> {
        let mut at = self.base.clone();
        // From the address to the principal, and from there to the home.
        for _ in 0..3 {
            let Some(first) = self.places(&at, "0").await?.into_iter().next() else { break };
            if first.is_calendar {
                return Ok(first.calendar().into_iter().collect());
            }
            let next = match (&first.home, &first.principal) {
                (Some(home), _) => home,
                (None, Some(principal)) => principal,
                (None, None) => break,
            };
            let next = self.check(at.join(next).map_err(NetError::from)?)?;
            let arrived = first.home.is_some() || next == at;
            at = next;
            if arrived {
                break;
            }
        }
        let found = self.places(&at, "1").await?.into_iter().filter(|place| place.is_calendar && place.has_events);
        let mut calendars = Vec::new();
        for calendar in found.take(CALENDARS_MAX).filter_map(Place::calendar) {
            calendars.push(Calendar { url: self.check(calendar.url)?, ..calendar });
        }
        Ok(calendars)
    }

    /// The objects of a calendar that have something between two moments.
    pub(super) async fn objects(&self, calendar: &Calendar, from: Moment, to: Moment) -> Result<Vec<String>, ToolError> {
        let query = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><c:calendar-query xmlns:d=\"DAV:\" xmlns:c=\"{CALDAV}\"><d:prop><c:calendar-data/>\
             </d:prop><c:filter><c:comp-filter name=\"VCALENDAR\"><c:comp-filter name=\"VEVENT\"><c:time-range start=\"{}\" end=\"{}\"/>\
             </c:comp-filter></c:comp-filter></c:filter></c:calendar-query>",
            from.basic(),
            to.basic()
        );
        let text = self.xml("REPORT", &calendar.url, "1", query).await?;
        let document = parse(&text)?;
        let data = document.descendants().filter(|n| n.has_tag_name((CALDAV, "calendar-data")));
        Ok(data.filter_map(|n| n.text().map(str::to_owned)).collect())
    }

    /// Makes an event at the name that belongs to it. One that is there already is left as it is.
    pub(super) async fn put(&self, calendar: &Calendar, name: &str, object: String) -> Result<Made, ToolError> {
        let url = calendar.url.below(name);
        let ask = self.ask("PUT", &url)?.header(IF_NONE_MATCH, "*")?.body("text/calendar; charset=utf-8", object);
        let reply = self.net.send(ask).await.map_err(after_effect)?;
        match reply.status {
            StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::OK => Ok(Made::Now),
            StatusCode::PRECONDITION_FAILED => Ok(Made::Before),
            // Some servers say that the name is taken in this way.
            StatusCode::CONFLICT | StatusCode::FORBIDDEN => {
                let there = self.net.send(self.ask("GET", &url)?).await?;
                if there.status.is_success() { Ok(Made::Before) } else { ok(reply, StatusCode::CREATED).await.map(|_| Made::Now) }
            }
            _ => ok(reply, StatusCode::CREATED).await.map(|_| Made::Now),
        }
    }
}

impl Place {
    fn calendar(self) -> Option<Calendar> {
        let url = self.url?;
        let last = url.path.trim_end_matches('/').rsplit('/').next().unwrap_or("").to_owned();
        let name = if self.name.is_empty() { last } else { self.name };
        Some(Calendar { url, name, colour: self.colour, writable: self.writable })
    }
}

fn parse(text: &str) -> Result<roxmltree::Document<'_>, ToolError> {
    // Without a document type: nothing in an answer can name a file or grow.
    roxmltree::Document::parse(text).map_err(|e| ToolError::Remote(format!("the calendar server's answer is not XML: {e}")))
}

fn place(response: &roxmltree::Node<'_, '_>, at: &Url) -> Place {
    let find = |space: &'static str, name: &'static str| response.descendants().find(move |n| n.has_tag_name((space, name)));
    let text = |n: roxmltree::Node<'_, '_>| shorten(&one_line(n.text().unwrap_or("")), NAME_CHARS_MAX);
    let href =
        |n: roxmltree::Node<'_, '_>| n.descendants().find(|c| c.has_tag_name((DAV, "href"))).and_then(|h| h.text().map(str::to_owned));
    let own = response.children().find(|n| n.has_tag_name((DAV, "href"))).and_then(|n| n.text());
    let components = find(CALDAV, "supported-calendar-component-set");
    let names: Vec<&str> = components.iter().flat_map(|n| n.children()).filter_map(|n| n.attribute("name")).collect();
    let privileges = find(DAV, "current-user-privilege-set").filter(|set| set.has_children());
    let may = |n: &roxmltree::Node<'_, '_>| ["write", "write-content", "bind", "all"].iter().any(|name| n.has_tag_name((DAV, *name)));
    Place {
        url: own.and_then(|own| at.join(own.trim()).ok()),
        is_calendar: find(DAV, "resourcetype").is_some_and(|n| n.children().any(|c| c.has_tag_name((CALDAV, "calendar")))),
        has_events: names.is_empty() || names.iter().any(|name| name.eq_ignore_ascii_case("VEVENT")),
        name: find(DAV, "displayname").map(text).unwrap_or_default(),
        colour: find("http://apple.com/ns/ical/", "calendar-color").map(text).filter(|c| !c.is_empty()),
        writable: privileges.map(|set| set.descendants().any(|n| may(&n))),
        home: find(CALDAV, "calendar-home-set").and_then(href),
        principal: find(DAV, "current-user-principal").and_then(href),
    }
}

/// The reply, if it has this status or another that tells of success.
async fn ok(reply: Reply, wanted: StatusCode) -> Result<Reply, ToolError> {
    if reply.status == wanted || reply.status.is_success() {
        return Ok(reply);
    }
    let status = reply.status;
    Err(match status {
        StatusCode::UNAUTHORIZED => ToolError::Remote("the calendar server does not take the name and password".to_owned()),
        StatusCode::NOT_FOUND => ToolError::NotFound("the calendar server has nothing at this address".to_owned()),
        _ => {
            let said = reply.bytes(64 << 10).await.unwrap_or_default();
            let said: String = one_line(&String::from_utf8_lossy(&said)).chars().take(200).collect();
            ToolError::Remote(format!("the calendar server answered {status}: {said}"))
        }
    })
}
