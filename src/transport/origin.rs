//! Origins of web pages: scheme, host and port (RFC 6454).

use http::{HeaderValue, Uri};

/// An origin as browsers send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(HeaderValue);

impl Origin {
    /// Takes what a browser can send: lower case, without a path, a default port or a wildcard. What
    /// differs from it would never match.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
        let default_port = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" => None,
            port => Some(port.strip_prefix(':')?.parse::<u16>().ok()?),
        };
        let sent = text == format!("{scheme}://{authority}")
            && port != Some(default_port)
            && !text.contains('*')
            && !text.contains(|letter: char| letter.is_ascii_uppercase());
        sent.then(|| HeaderValue::from_str(text).ok().map(Self))?
    }

    /// As the header has it.
    pub(super) fn header(&self) -> &HeaderValue {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_browser_can_send_is_an_origin() {
        for good in [
            "https://board.example",
            "http://localhost:3000",
            "http://[::1]:8080",
            "https://10.0.0.7",
            "http://board.example:443",
        ] {
            let origin = Origin::parse(good).unwrap_or_else(|| panic!("{good}"));
            assert_eq!(origin.header(), good);
        }
        for bad in [
            "",
            "*",
            "null",
            "board.example",
            "board.example:443",
            "https://board.example/",
            "https://board.example/page",
            "https://board.example?a",
            "https://board.example:443",
            "http://board.example:80",
            "https://board.example:",
            "https://board.example:0x1",
            "https://Board.example",
            "HTTPS://board.example",
            "https://*.example",
            "https://me@board.example",
            "ftp://board.example",
            "https://",
            "https://board.example https://other.example",
        ] {
            assert_eq!(Origin::parse(bad), None, "{bad}");
        }
    }
}
