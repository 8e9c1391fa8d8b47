//! Which method needs what of its caller, in one table, and the answers to those who lack it.

use tonic::Status;

use super::tokens::{Scope, Token};

/// What a method asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Open to everybody.
    Nothing,
    /// Any token.
    Token,
    /// A token with this scope.
    Scope(Scope),
}

/// Methods that do not need just any token; a name without a method stands for
/// the rest of its service.
const NEEDS: [(&str, &str, Need); 20] = [
    ("pounce.v1.ScoringService", "GetModel", Need::Token),
    ("pounce.v1.ScoringService", "", Need::Scope(Scope::Score)),
    ("pounce.v1.AlertService", "WatchAlerts", Need::Scope(Scope::AlertsRead)),
    ("pounce.v1.AlertService", "ListAlerts", Need::Scope(Scope::AlertsRead)),
    ("pounce.v1.AlertService", "GetTopic", Need::Scope(Scope::AlertsRead)),
    ("pounce.v1.AlertService", "ListTopics", Need::Scope(Scope::AlertsRead)),
    ("pounce.v1.AlertService", "", Need::Scope(Scope::AlertsWrite)),
    ("pounce.v1.CareService", "ListCases", Need::Scope(Scope::CasesRead)),
    ("pounce.v1.CareService", "WatchCases", Need::Scope(Scope::CasesRead)),
    ("pounce.v1.CareService", "", Need::Scope(Scope::CasesWrite)),
    ("inference.GRPCInferenceService", "ServerMetadata", Need::Token),
    ("inference.GRPCInferenceService", "ModelMetadata", Need::Token),
    // As health.
    ("inference.GRPCInferenceService", "ServerLive", Need::Nothing),
    ("inference.GRPCInferenceService", "ServerReady", Need::Nothing),
    // It tells whether a name is the model's.
    ("inference.GRPCInferenceService", "ModelReady", Need::Token),
    ("inference.GRPCInferenceService", "", Need::Scope(Scope::Score)),
    // Probes and balancers have no token.
    ("grpc.health.v1.Health", "", Need::Nothing),
    ("grpc.reflection.v1.ServerReflection", "", Need::Token),
    ("grpc.reflection.v1alpha.ServerReflection", "", Need::Token),
    // Names that do not exist.
    ("", "", Need::Token),
];

impl Need {
    pub(crate) fn of(path: &str) -> Self {
        let mut parts = path.trim_start_matches('/').split('/');
        let (service, method) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let matches = |&&(s, m, _): &&(&str, &str, Need)| {
            (s.is_empty() || s == service) && (m.is_empty() || m == method)
        };
        NEEDS.iter().find(matches).map_or(Self::Token, |&(_, _, need)| need)
    }

    pub(crate) fn met_by(self, token: &Token) -> bool {
        match self {
            Self::Nothing | Self::Token => true,
            Self::Scope(scope) => token.may(scope),
        }
    }
}

/// The answer to credentials that are missing or wrong.
pub(crate) fn unauthenticated() -> Status {
    Status::unauthenticated("a valid bearer token is needed")
}

/// The answer to a token that is for other things.
pub(crate) fn permission_denied() -> Status {
    Status::permission_denied("the token is not good for this call")
}

#[cfg(test)]
mod tests {
    use pounce_proto::{METHODS, Method};

    use super::*;

    #[test]
    fn every_method_needs_a_scope_but_those_that_tell_of_the_server() {
        for Method { service, method, .. } in METHODS {
            let path = format!("/{service}/{method}");
            let need = Need::of(&path);
            let expected = match *method {
                "ServerLive" | "ServerReady" => "nothing",
                "GetModel" | "ServerMetadata" | "ModelMetadata" | "ModelReady" => "a token",
                _ => "a scope",
            };
            let found = match need {
                Need::Nothing => "nothing",
                Need::Token => "a token",
                Need::Scope(_) => "a scope",
            };
            assert_eq!(found, expected, "{path}");
        }
        assert_eq!(Need::of("/grpc.health.v1.Health/Check"), Need::Nothing);
        assert_eq!(Need::of("/grpc.reflection.v1.ServerReflection/X"), Need::Token);
        assert_eq!(Need::of("/nobody.Knows/This"), Need::Token);
        let acknowledge = Need::of("/pounce.v1.AlertService/AcknowledgeAlert");
        assert_eq!(acknowledge, Need::Scope(Scope::AlertsWrite));
        let claim = Need::of("/pounce.v1.CareService/ClaimCase");
        assert_eq!(claim, Need::Scope(Scope::CasesWrite));
    }
}
