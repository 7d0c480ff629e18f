//! The resolver against a name server on loopback: which answers are final and which are not.

use std::net::{Ipv4Addr, SocketAddr};

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, MX};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;

use super::super::dns::{Dns, DnsError, MxRecord, Resolver};
use super::*;

fn answer(request: &Message) -> Message {
    let mut response = Message::response(request.metadata.id, OpCode::Query);
    let query = request.queries[0].clone();
    response.add_query(query.clone());
    let name = query.name().clone();
    let mx =
        |preference, host: &str| RData::MX(MX::new(preference, Name::from_ascii(host).unwrap()));
    let data = match (name.to_ascii().to_lowercase().as_str(), query.query_type()) {
        ("x.example.", RecordType::MX) => vec![mx(20, "Two.Example."), mx(10, "one.example.")],
        ("null.example.", RecordType::MX) => vec![mx(0, ".")],
        ("one.example.", RecordType::A) => vec![RData::A(A(Ipv4Addr::new(192, 0, 2, 1)))],
        ("one.example.", _) | ("bare.example.", _) => vec![],
        ("missing.example.", _) => {
            response.metadata.response_code = ResponseCode::NXDomain;
            vec![]
        }
        _ => {
            response.metadata.response_code = ResponseCode::ServFail;
            vec![]
        }
    };
    response.add_answers(data.into_iter().map(|data| Record::from_rdata(name.clone(), 60, data)));
    response
}

async fn name_server() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            let response = answer(&Message::from_vec(&buffer[..len]).unwrap());
            socket.send_to(&response.to_vec().unwrap(), from).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn answers_are_told_apart() {
    let server = name_server().await.to_string();
    let resolver = Resolver::new(&config(&[("POSTERN_DNS_SERVERS", &server)])).unwrap();
    let mut answer = resolver.mx("x.example").await.unwrap();
    answer.records.sort_by_key(|record| record.preference);
    let record = |preference, host: &str| MxRecord { preference, host: host.to_owned() };
    assert_eq!(answer.records, [record(10, "one.example"), record(20, "two.example")]);
    assert!(answer.valid_until > std::time::Instant::now());
    assert_eq!(resolver.mx("null.example").await.unwrap().records, [record(0, "")]);
    assert_eq!(resolver.mx("missing.example").await.unwrap_err(), DnsError::NoDomain);
    assert_eq!(resolver.mx("bare.example").await.unwrap_err(), DnsError::NoRecords);
    let failed = resolver.mx("busy.example").await.unwrap_err();
    assert!(matches!(failed, DnsError::Temporary(_)), "{failed:?}");
    let addresses = resolver.addresses("one.example").await.unwrap();
    assert_eq!(addresses, [std::net::IpAddr::from([192, 0, 2, 1])]);
    assert_eq!(resolver.addresses("missing.example").await.unwrap_err(), DnsError::NoDomain);
    assert_eq!(resolver.addresses("bare.example").await.unwrap_err(), DnsError::NoRecords);
    let failed = resolver.addresses("busy.example").await.unwrap_err();
    assert!(matches!(failed, DnsError::Temporary(_)), "{failed:?}");
}
