extension OpenAPI {
  /// Schemas, parameters and answers that the paths share.
  static let components = #"""
      "components": {
        "securitySchemes": {
          "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "The `accessToken` of a session."
          }
        },
        "parameters": {
          "Conversation": {
            "name": "conversation",
            "in": "path",
            "required": true,
            "schema": {"$ref": "#/components/schemas/ConversationID"}
          },
          "Limit": {
            "name": "limit",
            "in": "query",
            "description": "Items of the page.",
            "schema": {
              "type": "integer",
              "minimum": 1,
              "maximum": \#(ClientCodec.pageMax),
              "default": \#(ClientCodec.pageDefault)
            }
          }
        },
        "responses": {
          "Error": {
            "description": "Why it was not done.",
            "content": {
              "application/json": {"schema": {"$ref": "#/components/schemas/ErrorEnvelope"}}
            }
          }
        },
        "schemas": {
          "UInt64": {
            "type": "string",
            "description": "An unsigned integer of 64 bits, as a decimal text. Requests may \#
    write a number instead.",
            "pattern": "^[0-9]{1,20}$"
          },
          "UInt32": {"type": "integer", "minimum": 0, "maximum": 4294967295},
          "UserID": {
            "type": "string",
            "description": "`u` and 26 characters of Crockford's base 32.",
            "pattern": "^u[0-9a-z]{26}$"
          },
          "ConversationID": {
            "type": "string",
            "description": "`c` and 26 characters of Crockford's base 32.",
            "pattern": "^c[0-9a-z]{26}$"
          },
          "DeviceID": {
            "type": "string",
            "description": "`d` and 13 characters of Crockford's base 32.",
            "pattern": "^d[0-9a-z]{13}$"
          },
          "Handle": {
            "type": "string",
            "description": "Letters and digits, with single `_`, `-` and `.` between them. \#
    Capitals are lowered.",
            "minLength": 3,
            "maxLength": 32
          },
          "ClientMessageID": {
            "type": "string",
            "description": "Made by the client: printable ASCII without spaces.",
            "minLength": 1,
            "maxLength": 64,
            "pattern": "^[!-~]+$"
          },
          "CreateAccountRequest": {
            "type": "object",
            "properties": {
              "handle": {"$ref": "#/components/schemas/Handle"},
              "password": {
                "type": "string",
                "description": "At most 1,024 bytes.",
                "minLength": 8,
                "maxLength": 1024,
                "format": "password"
              },
              "displayName": {"type": "string", "description": "At most 128 bytes."}
            },
            "required": ["handle", "password"]
          },
          "Account": {
            "type": "object",
            "properties": {"user": {"$ref": "#/components/schemas/User"}},
            "required": ["user"]
          },
          "LoginRequest": {
            "type": "object",
            "properties": {
              "handle": {"$ref": "#/components/schemas/Handle"},
              "password": {"type": "string", "format": "password", "maxLength": 1024},
              "device": {
                "type": "string",
                "description": "A name for the device that its user recognises. At most 64 bytes."
              },
              "cookie": {
                "type": "boolean",
                "description": "For web pages of this gateway and of allowed origins: the refresh \#
    token comes in a cookie that scripts cannot read, not in the body."
              }
            },
            "required": ["handle", "password"]
          },
          "RefreshRequest": {
            "type": "object",
            "description": "Either `refreshToken` or `cookie`.",
            "properties": {
              "refreshToken": {"type": "string", "maxLength": 4096},
              "cookie": {
                "type": "boolean",
                "description": "The token is in the cookie, and so is the next one."
              }
            }
          },
          "WebConfiguration": {
            "type": "object",
            "properties": {
              "gateways": {
                "type": "array", "items": {"type": "string"},
                "description": "Origins of gateways that pages may use. Absent when none is listed."
              }
            }
          },
          "Session": {
            "type": "object",
            "properties": {
              "accessToken": {"type": "string", "description": "Sent as `Authorization: \#
    Bearer`."},
              "refreshToken": {
                "type": "string",
                "description": "Good for one refresh. Absent when it is in the cookie."
              },
              "expiresInSeconds": {"$ref": "#/components/schemas/UInt32"},
              "user": {"$ref": "#/components/schemas/User"},
              "device": {"$ref": "#/components/schemas/DeviceID"}
            },
            "required": ["accessToken", "expiresInSeconds", "user", "device"]
          },
          "User": {
            "type": "object",
            "properties": {
              "id": {"$ref": "#/components/schemas/UserID"},
              "handle": {"$ref": "#/components/schemas/Handle"},
              "displayName": {"type": "string", "description": "Absent when empty."}
            },
            "required": ["id", "handle"]
          },
          "CreateConversationRequest": {
            "type": "object",
            "properties": {
              "kind": {"type": "string", "enum": ["direct", "group"]},
              "members": {
                "type": "array",
                "items": {"type": "string", "description": "A user's id or a handle."},
                "description": "Everybody but oneself.",
                "maxItems": 256
              },
              "title": {"type": "string", "description": "At most 256 bytes."}
            },
            "required": ["kind"]
          },
          "ChangeMembersRequest": {
            "type": "object",
            "properties": {
              "add": {
                "type": "array",
                "items": {"type": "string", "description": "A user's id or a handle."},
                "description": "At most 256 together with `remove`.",
                "maxItems": 256
              },
              "remove": {
                "type": "array",
                "items": {"type": "string", "description": "A user's id or a handle."},
                "description": "At most 256 together with `add`.",
                "maxItems": 256
              }
            }
          },
          "Conversation": {
            "type": "object",
            "properties": {
              "id": {"$ref": "#/components/schemas/ConversationID"},
              "kind": {"type": "string", "enum": ["direct", "group"]},
              "title": {"type": "string", "description": "Absent when empty."},
              "members": {
                "type": "array",
                "items": {"$ref": "#/components/schemas/Member"},
                "description": "The first 64, in the order of their ids."
              },
              "memberCount": {"$ref": "#/components/schemas/UInt32"},
              "head": {"$ref": "#/components/schemas/UInt64"},
              "last": {"$ref": "#/components/schemas/Event"},
              "existed": {
                "type": "boolean",
                "description": "In the answer to its creation: it was there before. Absent \#
    means no."
              }
            },
            "required": ["id", "kind", "members", "memberCount", "head"]
          },
          "Member": {
            "type": "object",
            "properties": {
              "id": {"$ref": "#/components/schemas/UserID"},
              "handle": {"$ref": "#/components/schemas/Handle"},
              "role": {"type": "string", "enum": ["member", "admin"]}
            },
            "required": ["id", "handle", "role"]
          },
          "ConversationPage": {
            "type": "object",
            "description": "`next` is what to ask for after this page; absent at the end.",
            "properties": {
              "items": {"type": "array", "items": {"$ref": "#/components/schemas/Conversation"}},
              "next": {"$ref": "#/components/schemas/ConversationID"}
            },
            "required": ["items"]
          },
          "MembersChanged": {
            "type": "object",
            "properties": {
              "conversation": {"$ref": "#/components/schemas/ConversationID"},
              "seq": {"$ref": "#/components/schemas/UInt64"}
            },
            "required": ["conversation", "seq"]
          },
          "SendRequest": {
            "type": "object",
            "properties": {
              "id": {"$ref": "#/components/schemas/ClientMessageID"},
              "text": {"type": "string", "description": "At most 65,536 bytes."}
            },
            "required": ["id"]
          },
          "Sent": {
            "type": "object",
            "description": "`seq` is the message's place in the conversation, `time` \#
    milliseconds since 1970.",
            "properties": {
              "conversation": {"$ref": "#/components/schemas/ConversationID"},
              "seq": {"$ref": "#/components/schemas/UInt64"},
              "time": {"$ref": "#/components/schemas/UInt64"},
              "repeated": {
                "type": "boolean",
                "description": "The same id was sent before. Absent means no."
              }
            },
            "required": ["conversation", "seq", "time"]
          },
          "History": {
            "type": "object",
            "description": "`head` is the conversation's last sequence number.",
            "properties": {
              "events": {
                "type": "array",
                "items": {"$ref": "#/components/schemas/Event"},
                "description": "Ascending, without gaps."
              },
              "head": {"$ref": "#/components/schemas/UInt64"}
            },
            "required": ["events", "head"]
          },
          "Event": {
            "type": "object",
            "description": "Something that happened in a conversation, in the same place for \#
    every reader.",
            "properties": {
              "conversation": {"$ref": "#/components/schemas/ConversationID"},
              "seq": {"$ref": "#/components/schemas/UInt64"},
              "time": {"$ref": "#/components/schemas/UInt64"},
              "author": {"$ref": "#/components/schemas/UserID"},
              "message": {
                "type": "object",
                "properties": {"text": {"type": "string", "description": "Absent when empty."}}
              },
              "created": {
                "type": "object",
                "properties": {
                  "kind": {"type": "string", "enum": ["direct", "group"]},
                  "title": {"type": "string"},
                  "members": {"type": "array", "items": {"$ref": "#/components/schemas/Member"}}
                },
                "required": ["kind"]
              },
              "membersChanged": {
                "type": "object",
                "properties": {
                  "added": {"type": "array", "items": {"$ref": "#/components/schemas/Member"}},
                  "removed": {"type": "array", "items": {"$ref": "#/components/schemas/UserID"}}
                }
              },
              "titleChanged": {"type": "object", "properties": {"title": {"type": "string"}}}
            },
            "required": ["conversation", "seq", "time", "author"],
            "oneOf": [
              {"required": ["message"]},
              {"required": ["created"]},
              {"required": ["membersChanged"]},
              {"required": ["titleChanged"]}
            ]
          },
          "ServiceError": {
            "type": "object",
            "properties": {
              "code": {
                "type": "string",
                "description": "gRPC's canonical code.",
                "enum": [
                  "INVALID_ARGUMENT",
                  "DEADLINE_EXCEEDED",
                  "NOT_FOUND",
                  "ALREADY_EXISTS",
                  "PERMISSION_DENIED",
                  "RESOURCE_EXHAUSTED",
                  "FAILED_PRECONDITION",
                  "ABORTED",
                  "OUT_OF_RANGE",
                  "UNIMPLEMENTED",
                  "INTERNAL",
                  "UNAVAILABLE",
                  "DATA_LOSS",
                  "UNAUTHENTICATED"
                ]
              },
              "message": {"type": "string", "description": "For people. Absent when empty."},
              "retryable": {
                "type": "boolean",
                "description": "The same request may be sent again."
              },
              "retryAfterMilliseconds": {"$ref": "#/components/schemas/UInt32"}
            },
            "required": ["code", "retryable", "retryAfterMilliseconds"]
          },
          "ErrorEnvelope": {
            "type": "object",
            "properties": {"error": {"$ref": "#/components/schemas/ServiceError"}},
            "required": ["error"]
          }
        }
      }
    """#
}
